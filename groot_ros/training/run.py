# SPDX-License-Identifier: Apache-2.0
"""Start or resume a training run: processes, output directory, memory, interruption."""

import contextlib
import fcntl
import json
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs

from groot_ros.core.config_reader import ConfigError, Fields
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
    with contextlib.ExitStack() as held:
        with accelerator.main_process_first():
            first = accelerator.is_main_process
            if first:
                held.enter_context(_claimed(out, settings))
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


@contextlib.contextmanager
def _claimed(out: Path, settings: TrainSettings) -> Iterator[None]:
    """Keep the output directory for this process.

    There must be no results, or those of the run to resume. The settings are stored unless they
    are there.
    """
    stored = out / SETTINGS_FILE
    if settings.resume:
        read_progress(out / "state")
        known = Fields.read(stored, error_type=ConfigError).value
        if difference := settings.difference(known):
            raise ValueError(f"{out} cannot be resumed: {difference}")
    elif out.exists() and any(out.iterdir()) and not _without_results(out):
        raise ValueError(
            f"{out} is not empty: choose another --out, or continue its run with --resume"
        )
    out.mkdir(parents=True, exist_ok=True)
    with stored.open("a", encoding="utf-8") as file:
        _lock(file, out)
        if not settings.resume:
            _remove_entries(out)
            file.truncate(0)
            file.write(json.dumps(settings.to_json(), indent=2) + "\n")
            file.flush()
        yield


def _lock(file: TextIO, out: Path) -> None:
    """Raise ValueError if another process has the lock; it ends with that process."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ValueError(
            f"another process trains into {out}: wait for its end, or choose another --out"
        ) from error
    except OSError as error:
        # Some network file systems have no locks, and training works there all the same.
        print(f"warning: {out} cannot be locked ({error.strerror}): start no other run in it")


def _remove_entries(out: Path) -> None:
    """Remove what a run left that had no results yet, except its settings and decoded frames."""
    for entry in out.iterdir():
        if entry.name in (SETTINGS_FILE, "frames"):
            # Decoded frames are known by the facts of their videos, so they can be used again.
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


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
