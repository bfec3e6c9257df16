# SPDX-License-Identifier: Apache-2.0
"""Start or resume a training run: processes, output directory, memory, interruption."""

import contextlib
import json
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs

from groot_ros.training.loop import Result, TrainingRun
from groot_ros.training.memory import estimate_memory
from groot_ros.training.settings import TrainSettings
from groot_ros.training.setup import Prepared, prepare
from groot_ros.training.state import read_progress

SETTINGS_FILE = "train.json"
#: What a run writes before its first result: a run that fails there, as by a setting that does not
#: fit the data, or is interrupted while frames are decoded, can be started again.
_BEFORE_RESULTS = frozenset(
    {SETTINGS_FILE, "base", "new", "frames", "features", "metrics.jsonl", "tensorboard"}
)


def train(settings: TrainSettings) -> Result:
    """Run the training, or continue it, until it ends, its leg ends, or it is interrupted.

    Raises:
        ValueError: settings, data and checkpoint do not fit; one line.

    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    on_gpu = settings.device == "auto" and torch.cuda.is_available()
    precision = {"auto": "bf16" if on_gpu else "no", "float32": "no", "bfloat16": "bf16"}
    accelerator = Accelerator(
        cpu=settings.device == "cpu",
        mixed_precision=precision[settings.precision],
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    if settings.batch_size % accelerator.num_processes:
        raise ValueError(
            f"batch_size {settings.batch_size} cannot be divided by the "
            f"{accelerator.num_processes} processes"
        )
    out = Path(settings.out).expanduser()
    with accelerator.main_process_first():
        first = accelerator.is_main_process
        if first:
            _claim(out, settings)
        prepared = prepare(settings, out, print if first else _silent, write=first)
        _say_memory(settings, prepared, precision[settings.precision], first)
    run = TrainingRun(settings, accelerator, prepared, out)
    try:
        with _interrupts(run):
            return run.run()
    finally:
        run.close()


def _silent(line: str) -> None:
    return


def _claim(out: Path, settings: TrainSettings) -> None:
    """Check that there are no results, or those of the run to resume, and store the settings."""
    stored = out / SETTINGS_FILE
    if settings.resume:
        read_progress(out / "state")
        known = json.loads(stored.read_text(encoding="utf-8"))
        if difference := settings.difference(known):
            raise ValueError(f"{out} cannot be resumed: {difference}")
        return
    if out.exists() and any(out.iterdir()) and not _without_results(out):
        raise ValueError(
            f"{out} is not empty: choose another --out, or continue its run with --resume"
        )
    out.mkdir(parents=True, exist_ok=True)
    for entry in out.iterdir():
        # Decoded frames are known by the facts of their videos, so they can be used again.
        if entry.is_dir() and entry.name != "frames":
            shutil.rmtree(entry)
        elif entry.is_file():
            entry.unlink()
    stored.write_text(json.dumps(settings.to_json(), indent=2) + "\n", encoding="utf-8")


def _without_results(out: Path) -> bool:
    """Return whether the directory is of a run that ended before it had any result."""
    found = {entry.name for entry in out.iterdir()}
    return SETTINGS_FILE in found and found <= _BEFORE_RESULTS


def _say_memory(settings: TrainSettings, prepared: Prepared, precision: str, first: bool) -> None:
    if not first:
        return
    shapes = prepared.family.training_shapes(prepared.base, embodiment=settings.embodiment)
    estimate = estimate_memory(
        shapes,
        frozen_bytes=2 if precision == "bf16" else 4,
        averaged=settings.ema > 0,
        lora_rank=settings.lora_rank,
        lora_targets=prepared.family.lora_targets,
    )
    print("\n".join(estimate.lines()), flush=True)


@contextlib.contextmanager
def _interrupts(run: TrainingRun) -> Iterator[None]:
    """Let the first Ctrl-C (or SIGTERM) end the run after its step; the second one is immediate."""

    def handle(number: int, frame: object) -> None:
        run.request_stop()
        print("stopping after this step; the state will be saved", file=sys.stderr, flush=True)
        signal.signal(number, previous[number])

    previous: dict[int, Any] = {}
    try:
        for which in (signal.SIGINT, signal.SIGTERM):
            previous[int(which)] = signal.signal(which, handle)
    except ValueError:
        # Not the main thread: the caller handles signals.
        previous = {}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
