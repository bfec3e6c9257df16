"""Position and acceleration of one joint under every method."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.continuity.execution import Run
from benchmarks.continuity.policies import PERIOD


def draw(runs: Mapping[str, Run], path: Path, title: str, window: tuple[float, float]) -> None:
    """The first joint within `window` s, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 1, figsize=(10, 6.2), sharex=True)
    for name, run in runs.items():
        part = (run.times > window[0]) & (run.times < window[1])
        ours = name.startswith("this")
        style = {"label": name, "lw": 1.6 if ours else 0.9, "zorder": 3 if ours else 2}
        axes[0].plot(run.times[part], run.commands[part, 0], **style)
        bend = np.abs(np.diff(run.commands[part, 0], 2)) / PERIOD**2
        axes[1].semilogy(run.times[part][1:-1], np.maximum(bend, 0.1), **style)
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
