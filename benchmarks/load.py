# SPDX-License-Identifier: Apache-2.0
"""Write, load and run a checkpoint of published size once, on the CPU in bfloat16.

    python -m benchmarks.load [--directory out]

About 6 GB of random weights in shards are written to a temporary folder in --directory (not /tmp,
which may be in memory) and deleted afterwards. Loading and inference run in a separate process. Its
memory is counted without that which Python and its imports use before loading.

    stays       the weights in memory, of a single embodiment
    peak        largest memory of the process, minus its memory before loading
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.free_space import require_free
from benchmarks.two_arms import GROUPS, VIEWS, data_layout
from groot_ros.evaluation.table import format_table

SHARD_BYTES = 1 << 30
HORIZON = 50
#: Bytes of disk for the files, and of memory for the weights and one inference.
DISK, MEMORY = 7e9, 8e9


def write(directory: Path) -> None:
    """Write a checkpoint with random weights; only one shard is in memory at a time."""
    import torch

    from groot_ros.families.registry import get_family

    family = get_family()
    config = family.published_config(data_layout(HORIZON))
    family.random_checkpoint(
        config, 0, directory, dtype=torch.bfloat16, max_shard_bytes=SHARD_BYTES
    )


def load_and_infer(directory: Path) -> dict[str, float]:
    """Load a checkpoint, run one inference, and return durations in s and memory in bytes.

    Call it in a new process, as the memory is that of the whole process.
    """
    from groot_ros.core import Observation, PolicyConfig
    from groot_ros.policy import load_policy

    before = _status_bytes("VmRSS")
    started = time.perf_counter()
    with tqdm(total=100, desc="loading", disable=None) as bar:

        def show(stage: str, fraction: float) -> None:
            bar.n = round(100 * fraction)
            bar.refresh()

        config = PolicyConfig(
            checkpoint=str(directory), device="cpu", dtype="bfloat16", engine="torch"
        )
        policy = load_policy(config, progress=show)
    loaded = time.perf_counter()
    peak = _status_bytes("VmHWM")
    rng = np.random.default_rng(0)
    images = {view: rng.integers(0, 256, (1, 480, 640, 3), dtype=np.uint8) for view in VIEWS}
    state = {group: np.zeros((1, width)) for group, width in GROUPS.items()}
    chunk = policy.infer(Observation(0, images, state, "pick up the cube"), seed=0)
    return {
        "load": loaded - started,
        "stays": policy.memory_bytes,
        "peak": peak - before,
        "peak with inference": _status_bytes("VmHWM") - before,
        **{f"inference, {name}": value for name, value in chunk.stage_seconds.items()},
    }


def _status_bytes(key: str) -> int:
    """Return VmRSS, the memory of this process, or VmHWM, its maximum, in bytes.

    Unlike the maximum of getrusage, VmHWM starts with this process.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print one table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.load", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path("out"),
        help="folder for 6 GB of temporary files (%(default)s)",
    )
    parser.add_argument("--role", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.role:
        print(json.dumps(load_and_infer(options.role)), flush=True)
        return
    options.directory.mkdir(parents=True, exist_ok=True)
    require_free("load", MEMORY, DISK, options.directory)
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="load_") as folder:
        checkpoint = Path(folder) / "checkpoint"
        started = time.perf_counter()
        write(checkpoint)
        seconds = {"write": time.perf_counter() - started}
        size = sum(path.stat().st_size for path in checkpoint.glob("*.safetensors"))
        shards = len(list(checkpoint.glob("*.safetensors")))
        child = subprocess.run(
            [sys.executable, "-m", "benchmarks.load", "--role", str(checkpoint)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found = json.loads(child.stdout.splitlines()[-1])
    header = [f"{size / 1e9:.2f} GB in {shards} shards, bfloat16, {os.cpu_count()} cores", "", ""]
    stays, peaks = found.pop("stays"), {k: found.pop(k) for k in ("peak", "peak with inference")}
    rows = [[name, f"{value:.2f}", "s"] for name, value in {**seconds, **found}.items()]
    rows.append(["stays", f"{stays / 1e9:.3f}", "GB"])
    rows += [[name, f"{value / 1e9:.3f}", "GB"] for name, value in peaks.items()]
    rows.append(["peak / stays", f"{peaks['peak'] / stays:.3f}", ""])
    print(format_table(header, rows))
    print("target: peak / stays <= 1.15")


if __name__ == "__main__":
    main()
