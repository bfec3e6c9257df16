# SPDX-License-Identifier: Apache-2.0
"""Engines: one module each, which defines `ENGINE`; adding a module adds an engine."""

import importlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import torch

from groot_ros.core.program import Program, ProgramSource, Progress
from groot_ros.runtime import engine_names
from groot_ros.runtime.device import DTYPES
from groot_ros.runtime.engine import Engine
from groot_ros.runtime.manifest import Manifest, make_command


@dataclass(frozen=True)
class EngineFiles:
    """An engine directory and its manifest, which matches the checkpoint in use."""

    directory: Path
    manifest: Manifest


@dataclass(frozen=True)
class LoadRequest:
    """Everything needed to load an engine.

    Attributes:
        source: loads the weights.
        device: device on which the engine runs.
        dtype: element type of the weights; exported files have their own.
        step_counts: numbers of denoising steps to prepare for; the first run with another number
            takes longer.
        progress: called with the fraction of the bytes read so far.
        files: engine files, for the engines that need them.

    """

    source: ProgramSource
    device: torch.device
    dtype: torch.dtype
    step_counts: Collection[int] = ()
    progress: Progress | None = None
    files: EngineFiles | None = None

    def program(self) -> Program:
        """Load the whole program in the requested precision."""
        return self.source.load_program(
            device=self.device,
            dtype=self.dtype,
            step_counts=self.step_counts,
            progress=self.progress,
        )

    def remaining_program(self, files: EngineFiles) -> Program:
        """Load the segments that have no file, in the precision of the files."""
        missing = [n for n in self.source.program.names if n not in files.manifest.segments]
        return self.source.load_program(
            device=self.device,
            dtype=DTYPES[files.manifest.precision],
            segments=missing,
            step_counts=self.step_counts,
            progress=self.progress,
        )

    def require_files(self) -> EngineFiles:
        """Return the engine files; valid only if `unavailable_reason` returned ""."""
        assert self.files is not None
        return self.files


@dataclass(frozen=True)
class EngineKind:
    """Description of an engine, and the function that loads it.

    Attributes:
        name: value of the parameter `engine`.
        rank: position among the candidates for "auto", the usually fastest first; None if "auto"
            never selects the engine.
        needs_files: whether it needs an engine directory.
        load: makes it; raises CheckpointError or EngineFilesError.
        needs_cuda: whether it runs on a CUDA device only.
        needs_export: whether the engine directory must contain exported segments.
        unavailable_reason: why else it cannot run here, on one line; "" if nothing is known.

    """

    name: str
    rank: int | None
    needs_files: bool
    load: Callable[[LoadRequest], Engine]
    needs_cuda: bool = False
    needs_export: bool = True
    unavailable_reason: Callable[[torch.device, EngineFiles | None], str] = lambda *_: ""


def get_engine(name: str) -> EngineKind:
    """Return the description of an engine.

    Raises:
        ValueError: no engine has this name.

    """
    if name not in engine_names():
        raise ValueError(f"engine must be one of {', '.join(engine_names())}, not '{name}'")
    return importlib.import_module(f"{__name__}.{name}").ENGINE


def candidates() -> tuple[str, ...]:
    """Return the names of the engines that "auto" tries, usually fastest first."""
    ranked = [(get_engine(name).rank, name) for name in engine_names()]
    return tuple(name for _, name in sorted((r, n) for r, n in ranked if r is not None))


def unavailable_reason(name: str, device: torch.device, files: EngineFiles | None) -> str:
    """Return why an engine cannot run on this device, on one line; "" if no reason is known."""
    kind = get_engine(name)
    if kind.needs_cuda and device.type != "cuda":
        return f"needs a CUDA device, the model is on {device}"
    if kind.needs_files and files is None:
        return f"engine_directory is not set; make engine files with: {make_command()}"
    needs_segments = kind.needs_files and kind.needs_export
    if needs_segments and files is not None and not files.manifest.segments:
        export = files.manifest.export_command(files.directory)
        return f"{files.directory}: no segment is exported; export them with: {export}"
    return kind.unavailable_reason(device, files)
