"""Verdicts: claims, failure signatures, rankings, reproductions."""
