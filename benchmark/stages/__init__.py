"""Stages, their keys, and the plan of a grid."""
