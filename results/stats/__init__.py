"""Pure functions over arrays: intervals, tests, hulls, curves."""
