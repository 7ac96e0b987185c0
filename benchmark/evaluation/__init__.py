"""From trained models to scores, and from scores to curves and operating points."""
