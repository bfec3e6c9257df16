# SPDX-License-Identifier: Apache-2.0
"""Metrics, tables and pictures of the continuity benchmark."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.continuity.methods import METHODS, Run, execute
from benchmarks.continuity.policies import PERIOD, SYNTHETIC, Array, Source, Stream, recorded
from groot_ros.evaluation.table import format_table
from groot_ros.sim.controllers import RULES, Distro

#: s: a run is evaluated after this time, so that the start from rest is left out.
SETTLED = 1.0
#: ROS distribution of the controller in the pictures, and in tables with a single controller.
DISTRO: Distro = "jazzy"
OWN = ("this executor", "this executor, RTC")


@dataclass(frozen=True)
class Metrics:
    """Results of one run.

    Attributes:
        step: largest step between two commands, mrad.
        velocity: p99.5, as a multiple of the intended motion's.
        acceleration: p99.5, as a multiple of the intended motion's.
        splice: p95 of the discontinuity at a splice before blending, mrad; None if unknown.
        path_error: root mean square deviation from the intended motion, mrad.
        finish: time at which the motion has finished, s.
        conditioned: share of the chunks that real-time chunking conditioned.

    """

    step: float
    velocity: float
    acceleration: float
    splice: float | None
    path_error: float
    finish: float
    conditioned: float


def acceleration(positions: Array) -> float:
    """Return the 99.5th percentile of the acceleration, rad/s^2, of positions [T, N] rad."""
    return float(np.percentile(np.abs(np.diff(positions, 2, axis=0)) / PERIOD**2, 99.5))


def velocity(positions: Array) -> float:
    """Return the 99.5th percentile of the velocity, rad/s, of positions [T, N] rad."""
    return float(np.percentile(np.abs(np.diff(positions, axis=0)) / PERIOD, 99.5))


def metrics(run: Run) -> Metrics:
    """Compute the metrics of a run."""
    counted = run.times > SETTLED
    commands, intended = run.commands[counted], run.source.intended(run.times[counted])
    end = run.source.intended(run.source.seconds)
    away = np.abs(run.measured - end).max(axis=1) > run.source.arrived
    return Metrics(
        step=1e3 * float(np.abs(np.diff(commands, axis=0)).max()),
        velocity=velocity(commands) / velocity(intended),
        acceleration=acceleration(commands) / acceleration(intended),
        splice=1e3 * float(np.percentile(np.abs(run.splices), 95)) if len(run.splices) else None,
        path_error=1e3 * float(np.sqrt(((commands - intended) ** 2).mean())),
        finish=float(run.times[np.flatnonzero(away)[-1]]),
        conditioned=run.conditioned,
    )


HEADER = (
    "largest step mrad",
    "p99.5 vel",
    "p99.5 acc (worst)",
    "splice p95 mrad",
    "path mrad",
    "finish s",
    "RTC",
)


def row(runs: Sequence[Run]) -> list[str]:
    """Return a table row for runs with different seeds: the largest step, and means of the rest."""
    every = [metrics(run) for run in runs]
    accelerations = [m.acceleration for m in every]
    splices = [m.splice for m in every if m.splice is not None]
    conditioned = float(np.mean([m.conditioned for m in every]))
    return [
        f"{max(m.step for m in every):.1f}",
        f"{np.mean([m.velocity for m in every]):.2f}x",
        f"{np.mean(accelerations):.2f}x ({max(accelerations):.2f})",
        f"{np.mean(splices):.1f}" if splices else "-",
        f"{np.mean([m.path_error for m in every]):.2f}",
        f"{np.mean([m.finish for m in every]):.2f}",
        f"{conditioned:.0%}" if conditioned else "-",
    ]


def draw(runs: Mapping[str, Run], path: Path, title: str, window: tuple[float, float]) -> None:
    """Save a PNG of the commands of the first joint within `window` s, and their acceleration."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 1, figsize=(10, 6.2), sharex=True)
    for name, run in runs.items():
        part = (run.times > window[0]) & (run.times < window[1])
        own = name.startswith("this")
        style = {"label": name, "lw": 1.6 if own else 0.9, "zorder": 3 if own else 2}
        axes[0].plot(run.times[part], run.commands[part, 0], **style)
        acceleration = np.abs(np.diff(run.commands[part, 0], 2)) / PERIOD**2
        axes[1].semilogy(run.times[part][1:-1], np.maximum(acceleration, 0.1), **style)
    source = next(iter(runs.values())).source
    t = np.linspace(*window, 400)
    axes[0].plot(t, source.intended(t)[:, 0], "k--", lw=0.8, label="intended")
    axes[0].set_title(title, fontsize=10)
    axes[0].set_ylabel(f"command of {source.joints[0]}, rad")
    axes[1].set_ylabel("its acceleration, rad/s²")
    axes[1].set_xlabel("s")
    axes[0].legend(fontsize=7)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def every_method(source: Source, distro: Distro, streams: Sequence[Stream]) -> dict[str, list[Run]]:
    """Run each method with every stream."""
    return {
        name: [execute(method, source, distro, stream) for stream in streams]
        for name, method in METHODS.items()
    }


def show(title: str, runs: dict[str, list[Run]]) -> None:
    """Print one table."""
    print(f"\n{title}")
    print(format_table(["", *HEADER], [[name, *row(each)] for name, each in runs.items()]))


def latencies(source: Source, streams: Callable[[float], Sequence[Stream]]) -> dict[str, list[Run]]:
    """Run this executor at latencies from 0 s to one that exceeds the step budget."""
    return {
        f"{name}, {1e3 * latency:.0f} ms": [
            execute(METHODS[name], source, DISTRO, stream) for stream in streams(latency)
        ]
        for latency in (0.0, 0.1, 0.2, 0.3, 0.4)
        for name in OWN
    }


def draw_inconsistent(runs: dict[str, list[Run]], pictures: Path) -> None:
    """Draw the first run of each method with the synthetic policy."""
    title = f"{DISTRO}: chunks with offsets of 20 mrad, latency 100 ± 40 ms, servo lag 50 ms"
    firsts = {name: each[0] for name, each in runs.items()}
    draw(firsts, pictures / "continuity.png", title, (2.0, 4.0))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables and draw the pictures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.continuity",
        description="Execute chunks by five methods on the ported controllers.",
    )
    parser.add_argument(
        "--seeds", type=int, default=10, help="number of runs per method and stream (%(default)s)"
    )
    parser.add_argument(
        "--pictures", type=Path, default=Path("out"), help="folder for the pictures (%(default)s)"
    )
    options = parser.parse_args(arguments)
    seeds = range(options.seeds)
    for distro in RULES:
        runs = every_method(SYNTHETIC, distro, [Stream(seed=seed) for seed in seeds])
        show(f"{distro}: sigma 20 mrad, latency 100 +- 40 ms, servo lag 50 ms", runs)
        if distro == DISTRO:
            draw_inconsistent(runs, options.pictures)
    for distro in RULES:
        consistent = every_method(SYNTHETIC, distro, [Stream(jitter=0.0, sigma=0.0)])
        show(f"{distro}: consistent chunks, latency 100 ms, servo lag 50 ms", consistent)
    show(
        f"{DISTRO}, sigma 20 mrad, jitter 40 ms, every tenth chunk lost",
        latencies(SYNTHETIC, lambda t: [Stream(latency=t, loss=0.1, seed=s) for s in seeds]),
    )
    runs = every_method(recorded(), DISTRO, [Stream(seed=seed) for seed in seeds[:3]])
    show(f"{DISTRO}, recorded from the simulator, latency 100 +- 40 ms, servo lag 50 ms", runs)
    title = "recorded chunks, latency 100 ± 40 ms, servo lag 50 ms"
    firsts = {name: each[0] for name, each in runs.items()}
    draw(firsts, options.pictures / "continuity_recorded.png", title, (3.0, 6.0))
    show(
        f"{DISTRO}, recorded, jitter 40 ms, every tenth chunk lost",
        latencies(recorded(), lambda t: [Stream(latency=t, loss=0.1, seed=s) for s in seeds[:3]]),
    )
    print(f"\npictures: {options.pictures}/continuity.png, continuity_recorded.png")
