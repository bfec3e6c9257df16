"""A checkpoint of the published size: written, loaded and run once on the CPU, in bfloat16.

    python -m benchmarks.load [--directory out]

About 6 GB of random weights in shards go to a temporary folder below --directory (not to /tmp,
which may lie in memory) and are deleted afterwards. Loading and inference have a process of their
own, whose memory is counted from what Python and torch occupy before.

    stays       the weights in memory: of the embodiments, only the chosen one's
    peak        the most that the process ever occupied, over what it occupied before loading
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.room import require_room
from benchmarks.two_arms import GROUPS, TAG, VIEWS, write_processor
from groot_ros.evaluation.table import format_table

SHARD_BYTES = 1 << 30
#: Bytes: of the files, and of what a process needs to hold the weights and to run.
DISK, MEMORY = 7e9, 8e9


def write(directory: Path) -> None:
    """All files of a checkpoint with random weights; memory holds one shard at a time."""
    import torch
    from safetensors.torch import save_file

    from groot_ros.models.gr00t_n1d6 import EagleConfig, Gr00tN1d6Config, build_model
    from groot_ros.processing import IMAGE_TOKEN_INDEX

    config = Gr00tN1d6Config(
        eagle=EagleConfig(image_token_index=IMAGE_TOKEN_INDEX),
        max_state_dim=128,
        max_action_dim=128,
        action_horizon=50,
    )
    directory.mkdir(parents=True)
    write_processor(directory, config.action_horizon)
    _write_json(directory / "config.json", config.to_json())
    _write_json(directory / "eagle_config.json", config.eagle.to_json())
    model = build_model(config, device="meta", dtype=torch.bfloat16)
    shards = list(_shards([(name, p.nbytes) for name, p in model.named_parameters()]))
    shapes = {name: p.shape for name, p in model.named_parameters()}
    weight_map = {}
    torch.manual_seed(0)
    for number, names in enumerate(tqdm(shards, desc="writing shards", disable=None), start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        weights = {name: torch.empty(shapes[name], dtype=torch.bfloat16) for name in names}
        for name, tensor in weights.items():
            # Matrices small, norms 1 and biases 0, as at the start of a training.
            if tensor.ndim > 1:
                tensor.normal_(std=0.02)
            else:
                tensor.fill_(float(name.endswith("weight")))
        save_file(weights, directory / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(names, file))
    _write_json(directory / "model.safetensors.index.json", {"weight_map": weight_map})


def _shards(sizes: list[tuple[str, int]]) -> Iterator[list[str]]:
    names: list[str] = []
    used = 0
    for name, size in sizes:
        if names and used + size > SHARD_BYTES:
            yield names
            names, used = [], 0
        names.append(name)
        used += size
    yield names


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def load_and_infer(directory: Path) -> dict[str, float]:
    """Seconds and bytes, in a process that did nothing else."""
    from groot_ros.core import Observation
    from groot_ros.policy import load_policy

    before = _status_bytes("VmRSS")
    started = time.perf_counter()
    with tqdm(total=100, desc="loading", disable=None) as bar:

        def show(stage: str, fraction: float) -> None:
            bar.n = round(100 * fraction)
            bar.refresh()

        policy = load_policy(directory, TAG, device="cpu", dtype="bfloat16", progress=show)
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
    """VmRSS, or VmHWM: the most since this process began (getrusage counts its parent's too)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.load", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--directory", type=Path, default=Path("out"), help="holds the 6 GB")
    parser.add_argument("--role", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.role:
        print(json.dumps(load_and_infer(options.role)), flush=True)
        return
    options.directory.mkdir(parents=True, exist_ok=True)
    require_room("load", MEMORY, DISK, options.directory)
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
    print("wanted: peak / stays <= 1.15")


if __name__ == "__main__":
    main()
