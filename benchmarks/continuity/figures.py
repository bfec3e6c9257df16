"""The figures of a run, and a row of the table of several."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.continuity.execution import Run
from benchmarks.continuity.policies import PERIOD, Array

#: s after which a run counts: the start from standstill is not of interest.
SETTLED = 1.0


@dataclass(frozen=True)
class Figures:
    """Of one run; speed and sharpness are multiples of the intended motion's own."""

    step: float
    speed: float
    sharpness: float
    seam: float | None
    path: float
    finish: float
    conditioned: float


def sharpness(positions: Array) -> float:
    """p99.5 of the acceleration, rad/s2."""
    return float(np.percentile(np.abs(np.diff(positions, 2, axis=0)) / PERIOD**2, 99.5))


def speed(positions: Array) -> float:
    """p99.5 of the velocity, rad/s."""
    return float(np.percentile(np.abs(np.diff(positions, axis=0)) / PERIOD, 99.5))


def figures(run: Run) -> Figures:
    """Largest step and seam in mrad, root mean square of the path error in mrad, finish in s."""
    counted = run.times > SETTLED
    commands, wanted = run.commands[counted], run.source.intended(run.times[counted])
    end = run.source.intended(run.source.seconds)
    away = np.abs(run.measured - end).max(axis=1) > run.source.arrived
    return Figures(
        step=1e3 * float(np.abs(np.diff(commands, axis=0)).max()),
        speed=speed(commands) / speed(wanted),
        sharpness=sharpness(commands) / sharpness(wanted),
        seam=1e3 * float(np.percentile(np.abs(run.seams), 95)) if len(run.seams) else None,
        path=1e3 * float(np.sqrt(((commands - wanted) ** 2).mean())),
        finish=float(run.times[np.flatnonzero(away)[-1]]),
        conditioned=run.conditioned,
    )


HEADER = (
    "largest step mrad",
    "p99.5 vel",
    "p99.5 acc (worst)",
    "seam p95 mrad",
    "path mrad",
    "finish s",
    "RTC",
)


def row(runs: Sequence[Run]) -> list[str]:
    """Of runs that differ by their seed: means, but the largest step of all."""
    every = [figures(run) for run in runs]
    sharp = [f.sharpness for f in every]
    seams = [f.seam for f in every if f.seam is not None]
    conditioned = float(np.mean([f.conditioned for f in every]))
    return [
        f"{max(f.step for f in every):.1f}",
        f"{np.mean([f.speed for f in every]):.2f}x",
        f"{np.mean(sharp):.2f}x ({max(sharp):.2f})",
        f"{np.mean(seams):.1f}" if seams else "-",
        f"{np.mean([f.path for f in every]):.2f}",
        f"{np.mean([f.finish for f in every]):.2f}",
        f"{conditioned:.0%}" if conditioned else "-",
    ]
