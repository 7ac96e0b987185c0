"""Executes a plan as job arrays of a Slurm cluster, through submitit. See docs/slurm.md.

"Task" has several meanings here, by class:

- `layout.ArrayTask`: what one task of an array will make, before it is submitted.
- `submission.TaskEntry`: the same in the manifest, with its job id.
- `jobs.TaskInFlight`: one of those that waits or runs.
- `task.SlurmTask`: what submitit pickles, and runs on the node without torch.
- `node.NodeTask`: the part of it that a process with torch works on, through `benchmark.execution.task.run_task`.
"""
