"""Checks of this machine and its devices."""
