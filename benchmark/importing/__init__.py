"""Checkpoints of the authors' code as runs of this suite."""
