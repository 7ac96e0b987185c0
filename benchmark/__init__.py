"""The harness: command line, grids, stages, training, measuring, executing."""
