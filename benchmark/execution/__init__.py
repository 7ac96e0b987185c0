"""Carries a plan out: in this process, in workers on this machine, or as jobs of Slurm."""
