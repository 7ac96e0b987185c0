"""``python -m benchmark.execution.local_rank``: another rank of ``run --gpus N``; see `benchmark.execution.local_ranks`."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from benchmark.checkout import put_checkout_first

put_checkout_first()

from benchmark.execution.building import Builder  # noqa: E402
from benchmark.execution.device import set_up  # noqa: E402
from benchmark.execution.distributed import World, meeting  # noqa: E402
from benchmark.execution.follower import follow  # noqa: E402
from results.store.folder import Store  # noqa: E402


def main() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    order = json.loads(sys.argv[1])
    world = World.of_environment()
    assert world is not None
    set_up(order["threads"])
    device = world.device(order["device"])
    data_dir = order["data_dir"] and Path(order["data_dir"])
    with meeting(world, device) as team:
        follow(team, Builder(Store(Path(order["results"])), device, data_dir, order["loader_processes"]))


def _end_with_parent() -> None:
    """The parent holds the other end of our standard input and never writes."""
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)  # at once: what torch would wait for is gone
