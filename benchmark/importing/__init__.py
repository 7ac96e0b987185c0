"""Import of checkpoints from the authors' code as runs of this suite."""
