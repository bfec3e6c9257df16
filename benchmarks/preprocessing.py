"""From two camera frames, a state and an instruction to model input: every stage, on one core.

    python -m benchmarks.preprocessing [--runs 300] [--against MODULE:FACTORY]

Times are those of a process of its own, pinned to one core, with one thread in BLAS; those of the
CPU leave out what other processes took of that core, though not what they did to its caches.
FACTORY of another implementation is called with the checkpoint's directory, the embodiment, the
images (view -> uint8 RGB [1, H, W, 3]), the state (group -> float [1, D]) and the instruction; it
returns a function without arguments, whose result is the token ids, the images (uint8 [3, h, w]
each) and the state. The two take turns, and every number must be the same.
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
from pathlib import Path
from typing import Any

from benchmarks.two_arms import GROUPS, TAG, VIEWS, write_processor
from groot_ros.evaluation.table import format_table

HORIZON = 50
INSTRUCTION = "Pick up the red cube."
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def measure(runs: int, against: str | None) -> dict[str, list[tuple[float, float]]]:
    """Stage -> seconds of every run, on the wall and of the CPU."""
    import numpy as np
    from PIL import Image

    from groot_ros.processing import Processor, Sample, TextTokenizer, collate

    rng = np.random.default_rng(0)
    # Smooth, as frames are, and full of every grey level.
    small = rng.integers(0, 256, (len(VIEWS), 30, 40, 3), dtype=np.uint8)
    frames = [np.asarray(Image.fromarray(each).resize((640, 480))) for each in small]
    images = {view: frame[None] for view, frame in zip(VIEWS, frames, strict=True)}
    state = {group: rng.uniform(-3, 3, (1, width)) for group, width in GROUPS.items()}
    sample = Sample(images, state, INSTRUCTION)
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        write_processor(directory, HORIZON)
        processor = Processor.load(directory, TAG, TextTokenizer.load(directory))
        other = None
        if against is not None:
            module, factory = against.split(":")
            make = getattr(importlib.import_module(module), factory)
            other = make(directory, TAG, images, state, INSTRUCTION)
    pad = processor.tokenizer.pad_id
    encoded = processor.encode(sample)
    counts = [processor.images.tokens(image) for image in encoded.images]
    stages: dict[str, Callable[[], Any]] = {
        "one image": lambda: processor.images(images[VIEWS[0]][0]),
        "state": lambda: processor.codec.encode_state(state),
        "prompt, instruction as before": lambda: processor.tokens(INSTRUCTION, counts),
        "prompt, new instruction": lambda: _afresh(processor, counts),
        "collate": lambda: collate([encoded], pad),
    }
    whole: dict[str, Callable[[], Any]] = {
        "all of it": lambda: collate([processor.encode(sample)], pad)
    }
    if other is not None:
        whole[f"all of it, {against}"] = other
        _require_equal(whole["all of it"](), other())
    times: dict[str, list[tuple[float, float]]] = {}
    for name, stage in stages.items():
        times |= _in_turns({name: stage}, runs)
    return times | _in_turns(whole, runs)


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


def _afresh(processor: Any, counts: list[int]) -> None:
    processor.tokens("Put it back.", counts)
    processor.tokens(INSTRUCTION, counts)


def _require_equal(ours: Any, theirs: Any) -> None:
    import numpy as np

    ids, pictures, state = theirs
    np.testing.assert_array_equal(ours.input_ids[0], np.asarray(ids).reshape(-1))
    for mine, other in zip(ours.images, pictures, strict=True):
        np.testing.assert_array_equal(mine, other)
    np.testing.assert_array_equal(ours.state[0], np.asarray(state).reshape(ours.state[0].shape))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.preprocessing", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--runs", type=int, default=300)
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
        print("token ids, images and state are the same, bit for bit")
    print("wanted: all of it, p50 <= 4 ms")


if __name__ == "__main__":
    main()
