"""The harness: command line, grids, stages, training, evaluation, measurement and execution."""
