"""Training: the loop, and the modules and losses of each kind of stage."""
