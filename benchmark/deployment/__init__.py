"""Use of trained runs after the benchmark: prediction, the choice of a threshold for a budget, and export."""
