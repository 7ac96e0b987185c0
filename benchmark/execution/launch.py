"""Starts the ranks that share trainings, through torch's elastic launcher.

The launcher runs an agent in the calling process, one per node. It starts the ranks, hosts the store through which they
communicate, and ends all of them when one fails. It restarts none: a later command resumes from the checkpoint.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
import time
from collections.abc import Callable
from typing import Any, NoReturn

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from benchmark.errors import RESUMES, HeldElsewhereError, Interrupted, RankError, UserError
from benchmark.execution.causes import failure_of
from datasets.api import DataError
from results.store.folder import StoreError

RENDEZVOUS_SECONDS = 600
BLAME_SECONDS = 5.0
"""How long a rank that lost another waits before it fails itself, so that the agent sees the other one's failure first."""
SENTENCES = {"UserError": UserError, "DataError": DataError, "StoreError": StoreError}
"""Errors whose text is for the user; their type is kept when they are passed to the agent."""


def launch(
    function: Callable[..., Any],
    *arguments: Any,
    processes: int,
    session: str,
    nodes: int = 1,
    endpoint: str = "127.0.0.1:0",
    address: str = "127.0.0.1",
) -> Any:
    """Call a function in every rank, and wait until all have returned.

    Signal handlers of the caller are restored. The ranks belong to its process group.

    Args:
        function: importable; called with ``arguments``, which can be pickled.
        processes: ranks on this node.
        session: id of the group, equal on all of its nodes.
        nodes: number of nodes, each with one agent.
        endpoint: host and port of the rendezvous; port 0 chooses a free one on this node.
        address: at which other nodes reach this one.

    Returns:
        the result of rank 0; None on a node without rank 0.

    Raises:
        Interrupted: rank 0 stopped on request.
        UserError: a rank raised it (or a DataError or StoreError).
        RankError: a rank died, or failed in another way.
    """
    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=processes,
        run_id=session,
        rdzv_backend="c10d",
        rdzv_endpoint=endpoint,
        rdzv_configs={"timeout": RENDEZVOUS_SECONDS},
        max_restarts=0,
        start_method="forkserver",
        local_addr=address,
        signals_to_handle="SIGQUIT",
    )
    # torch and timm are imported once: every rank is a fork of a process that has them.
    multiprocessing.get_context("forkserver").set_forkserver_preload([function.__module__, "timm"])
    try:
        return elastic_launch(config, _run_rank)(function, *arguments).get(0)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        _raise_cause(f"rank {rank} of {nodes * processes}", failure)


class _ReportedError(Exception):
    """The error of a rank as JSON text, because torch passes only the text of an exception to the agent."""


def _run_rank(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except RankError:
        time.sleep(BLAME_SECONDS)
        raise
    except Interrupted as error:
        held = str(error) if isinstance(error, HeldElsewhereError) else None
        raise _ReportedError(json.dumps({"interrupted": True, "held": held})) from error
    except (UserError, DataError, StoreError) as error:
        kind = next(name for name, type_ in SENTENCES.items() if isinstance(error, type_))
        raise _ReportedError(json.dumps({"kind": kind, "text": str(error), "failure": failure_of(error)})) from error
    except Exception as error:
        content = {"sentence": f"{type(error).__name__}: {error}", "failure": failure_of(error)}
        raise _ReportedError(json.dumps(content)) from error


def _raise_cause(name: str, failure: ProcessFailure) -> NoReturn:
    """Raise the error that ended a rank, in the agent's process."""
    if failure.exitcode < 0:
        raise RankError(f"{name} was killed ({signal.Signals(-failure.exitcode).name}); {RESUMES}", "killed")
    message = failure.error_file_data.get("message", {})
    text = message.get("message", "") if isinstance(message, dict) else str(message)
    kind, _, content = text.partition(": ")
    if kind != _ReportedError.__name__:
        raise RankError(f"{name} ended with exit code {failure.exitcode}{': ' + text if text else ''}; {RESUMES}")
    reported = json.loads(content)
    if "interrupted" in reported:
        raise HeldElsewhereError(reported["held"]) if reported["held"] else Interrupted
    if "text" in reported:
        raise SENTENCES[reported["kind"]](reported["text"]) from RankError(f"{name} failed", reported["failure"])
    raise RankError(f"{name} failed: {reported['sentence']}; {RESUMES}", reported["failure"])
