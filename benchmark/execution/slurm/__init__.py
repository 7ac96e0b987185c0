"""Executes a plan as job arrays of a Slurm cluster, through submitit. See docs/slurm.md."""
