# SPDX-License-Identifier: Apache-2.0
"""Time from two camera frames, a state and an instruction to the model inputs, on one core.

    python -m benchmarks.preprocessing [--runs 300] [--against MODULE:FACTORY]

It is measured in a separate process that is pinned to one core, with one BLAS thread. CPU times
exclude the time that other processes used of that core, but not their effect on its caches.

--against compares another implementation. FACTORY is called with the checkpoint's directory, the
embodiment, the images (view -> uint8 RGB [1, H, W, 3]), the state (group -> float [1, D]) and the
instruction. It returns a function without arguments, which returns the token ids, the images (uint8
[3, h, w] each) and the state. The two implementations run in turn, and all their results must be
equal.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.two_arms import GROUPS, VIEWS, data_layout
from groot_ros.evaluation.table import format_table

HORIZON = 50
INSTRUCTION = "Pick up the red cube."
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def measure(runs: int, against: str | None) -> dict[str, list[tuple[float, float]]]:
    """Return case -> wall time and CPU time of every run, s."""
    import numpy as np
    from PIL import Image

    from groot_ros.core import Observation
    from groot_ros.families.registry import get_family

    rng = np.random.default_rng(0)
    # Smooth, like camera frames, with all grey levels.
    small = rng.integers(0, 256, (len(VIEWS), 30, 40, 3), dtype=np.uint8)
    frames = [np.asarray(Image.fromarray(each).resize((640, 480))) for each in small]
    images = {view: frame[None] for view, frame in zip(VIEWS, frames, strict=True)}
    state = {group: rng.uniform(-3, 3, (1, width)) for group, width in GROUPS.items()}
    observation = Observation(0, images, state, INSTRUCTION)
    family = get_family()
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        layout = data_layout(HORIZON)
        family.write_config(family.published_config(layout), directory)
        checkpoint: Any = family.open(directory, embodiment=layout.embodiment)
        processor = checkpoint.processor
        other = None
        if against is not None:
            module, factory = against.split(":")
            make = getattr(importlib.import_module(module), factory)
            other = make(directory, layout.embodiment, images, state, INSTRUCTION)
    whole: dict[str, Callable[[], Any]] = {"total": lambda: processor.encode(observation)}
    if other is not None:
        whole[f"total, {against}"] = other
        _require_equal(whole["total"](), other())
    changed = replace(observation, instruction="Put it back.")

    def new_instruction() -> None:
        processor.encode(changed)
        processor.encode(observation)

    times = _in_turns(whole, runs)
    return times | _in_turns({"twice, with a new instruction each": new_instruction}, runs)


def _in_turns(
    work: dict[str, Callable[[], Any]], runs: int
) -> dict[str, list[tuple[float, float]]]:
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    for _ in range(runs):
        for name, do in work.items():
            wall, cpu = time.perf_counter(), time.thread_time()
            do()
            times[name].append((time.perf_counter() - wall, time.thread_time() - cpu))
    return times


def _require_equal(ours: Any, theirs: Any) -> None:
    import numpy as np

    ids, pictures, state = theirs
    np.testing.assert_array_equal(ours["input_ids"][0], np.asarray(ids).reshape(-1))
    for number, other in enumerate(pictures):
        np.testing.assert_array_equal(ours[f"image.{number}"], other)
    mine = ours["state"][0]
    np.testing.assert_array_equal(mine, np.asarray(state).reshape(mine.shape))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print one table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.preprocessing", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--runs", type=int, default=300, help="runs of each case (%(default)s)")
    parser.add_argument("--against", metavar="MODULE:FACTORY", help="another implementation")
    parser.add_argument("--role", choices=("measure",), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.role:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        print(json.dumps(measure(options.runs, options.against)), flush=True)
        return
    command = [sys.executable, "-m", "benchmarks.preprocessing", "--role", "measure"]
    command += ["--runs", str(options.runs)]
    command += ["--against", options.against] if options.against else []
    environment = os.environ | dict.fromkeys(THREADS, "1")
    child = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    times = json.loads(child.stdout.splitlines()[-1])
    header = ["two 640x480 views, one core", "p50 ms", "p95 ms", "best ms", "CPU p50 ms"]
    rows = []
    for name, seconds in times.items():
        walls, cpus = (sorted(1e3 * value for value in kind) for kind in zip(*seconds, strict=True))
        half, most = len(walls) // 2, int(0.95 * len(walls))
        picked = (walls[half], walls[most], walls[0], cpus[half])
        rows.append([name, *(f"{value:.3f}" for value in picked)])
    print(format_table(header, rows))
    if options.against:
        print("token ids, images and state are equal in both implementations")
    print("target: total, p50 <= 4 ms")


if __name__ == "__main__":
    main()
