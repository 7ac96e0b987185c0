"""Exit codes by which a worker tells the pool how it ended; 0 is the end of the work."""

EXIT_MISTAKE = 2
"""A mistake of the user, or a folder that cannot be written."""
EXIT_RANK_LOST = 3
"""One of the processes that share a training died."""
EXIT_STOPPED = 130
"""The pool asked the worker to stop."""
