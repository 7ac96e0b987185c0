"""Exit codes of a worker; 0 means that all work is done."""

EXIT_MISTAKE = 2
"""A mistake of the user, or a folder that cannot be written."""
EXIT_RANK_LOST = 3
"""One of the processes that share a training died."""
EXIT_STOPPED = 130
"""The pool asked the worker to stop."""
