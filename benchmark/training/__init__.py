"""Training: the loop, and what is trained in each kind of stage."""
