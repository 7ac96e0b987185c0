"""``python -m benchmark deploy``: choose the threshold of a run for a budget."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmark.cli.options import Device, OutputPath, data_dir_option, results_option
from benchmark.environment import require_torch
from results.store.folder import Store
from results.text import printable

if TYPE_CHECKING:
    from benchmark.deployment.deployed import Deployed, Interval


@click.command("deploy")
@click.argument("run_id", metavar="RUN")
@click.option(
    "--budget",
    required=True,
    metavar="0.5|1pt|5ms",
    help="Share of the backbone's MACs, points of accuracy lost on val, or milliseconds per image.",
)
@results_option
@click.option("--policy", metavar="NAME", help="A policy of the run; by default its first.")
@click.option(
    "--out",
    type=OutputPath(dir_okay=False),
    show_default="RUN.deployed.json here",
    help="The file to write.",
)
@click.option(
    "--device",
    type=Device(),
    metavar="NAME",
    default="auto",
    show_default=True,
    help="Where times are measured: auto, cpu, cuda or cuda:N.",
)
@data_dir_option
def command(
    run_id: str,
    budget: str,
    results_dir: Path,
    policy: str | None,
    out: Path | None,
    device: str,
    data_dir: Path | None,
) -> None:
    """Choose the threshold of RUN for a budget on val, show what it costs on test, and write it to a small JSON file.

    The file holds the policy, its threshold, the classes, the normalisation, and the exits with their MACs. A budget in
    milliseconds chooses among the operating points that the command latency measured on this machine, in fp32 with batches of
    one image; if none of the policy was measured here, they are measured now, on test images, and the times are stored.

    \b
    Examples:
      python -m benchmark deploy RUN --budget 0.5
      python -m benchmark deploy RUN --budget 1pt --policy entropy
      python -m benchmark deploy RUN --budget 5ms
      python -m benchmark predict --deployed model.json photos/
    """
    require_torch()
    # These import torch, which takes seconds: --help is answered without it.
    from benchmark.deployment.budget import Budget
    from benchmark.deployment.choice import choose_deployment
    from benchmark.deployment.measured_times import TimingSetup
    from benchmark.execution.device import usable_device

    timing = TimingSetup(usable_device(device), data_dir, partial(click.echo, err=True))
    deployed = choose_deployment(Store(results_dir), run_id, Budget.parse(budget), policy, timing)
    path = out or Path.cwd() / f"{deployed.run}.deployed.json"
    deployed.write(path)
    _show(deployed)
    click.echo(path)


def _show(deployed: Deployed) -> None:
    test = deployed.test
    click.echo(
        f"{deployed.policy.label}, {deployed.setting_name} {deployed.setting:.6g}, chosen on val for {deployed.budget}"
    )
    click.echo(
        f"accuracy on test: {_percent(test.accuracy)} %, {_percent(test.drop)} points below the backbone without exits"
    )
    share = (value / deployed.baseline_macs for value in (test.mean_macs.mean, test.mean_macs.low, test.mean_macs.high))
    click.echo("MACs on test: {:.3f} [{:.3f}, {:.3f}] of the backbone without exits".format(*share))
    if deployed.milliseconds is not None:
        click.echo(
            f"measured: {deployed.milliseconds:.2f} ms per image in batches of one on {printable(str(deployed.measured_on))}"
        )
    shares = ", ".join(
        f"block {exit_.block}: {share:.0%}" for exit_, share in zip(deployed.exits, test.exit_shares, strict=True)
    )
    click.echo(f"exits on test: {shares}")
    click.echo(f"brackets: 95 % intervals over {test.images} test images")


def _percent(interval: Interval) -> str:
    return f"{100 * interval.mean:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
