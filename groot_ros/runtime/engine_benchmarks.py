# SPDX-License-Identifier: Apache-2.0
"""Measured speed and accuracy of each engine, stored in the engine directory."""

import json
import logging
import platform
import re
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import torch

from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.runtime.device import describe_device
from groot_ros.runtime.engine import EngineFilesError
from groot_ros.runtime.manifest import is_readable
from groot_ros.runtime.reference_outputs import ValidationResult

ENGINE_BENCHMARKS = "engine_benchmarks.json"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineBenchmark:
    """Speed and accuracy of one engine on one machine.

    Attributes:
        machine: see `describe_machine`.
        seconds: median time of one inference, without processing; None until it is measured.
        error: see `ValidationResult`; -1 if it was NaN.
        validated: see `ValidationResult`.
        date: day of the measurement in UTC, ISO 8601.

    """

    machine: str
    seconds: float | None
    error: float
    validated: bool
    date: str


def describe_machine(device: torch.device) -> str:
    """Return a description of the GPU, or of the processor for a model on the CPU."""
    return describe_device(device) if device.type == "cuda" else f"{device} ({processor_name()})"


def processor_name() -> str:
    """Return the processor's name from /proc/cpuinfo, or its architecture if none is listed."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()


def describe_threads() -> str:
    """Return a description of torch's CPU threads, such as "4 threads"."""
    return f"{torch.get_num_threads()} threads"


def today() -> str:
    """Return the current day in UTC, such as "2026-11-28"."""
    return datetime.now(timezone.utc).date().isoformat()


def store_benchmark(
    directory: Path,
    engine: str,
    result: ValidationResult,
    device: torch.device,
    seconds: float | None = None,
) -> None:
    """Store one engine's benchmark in the engine directory.

    Without `seconds`, an earlier time from this machine is kept: a validation measures the
    shortest of a few runs, not a median. The file only orders the candidates for "auto", so a
    failure to write it is logged as a warning.
    """
    known = read_benchmarks(directory)
    machine = describe_machine(device)
    before = known.get(engine)
    if seconds is None and before is not None and before.machine == machine:
        seconds = before.seconds
    error = result.error if result.error == result.error else -1.0
    known[engine] = EngineBenchmark(machine, seconds, error, result.validated, today())
    text = json.dumps({name: asdict(m) for name, m in known.items()}, indent=2)
    try:
        (directory / ENGINE_BENCHMARKS).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        _LOG.warning("%s: cannot be written: %s", directory / ENGINE_BENCHMARKS, error.strerror)


def read_benchmarks(directory: Path) -> dict[str, EngineBenchmark]:
    """Return engine -> benchmark, from any machine; empty if there is no file.

    The file only orders the candidates for "auto": if it cannot be read, a warning is logged and
    it is treated as missing.
    """
    path = directory / ENGINE_BENCHMARKS
    try:
        return _parse(Fields.read(path)) if is_readable(path) else {}
    except (CheckpointError, EngineFilesError) as error:
        _LOG.warning("%s; ignored until engines are measured again", error)
        return {}


def _parse(f: Fields) -> dict[str, EngineBenchmark]:
    found = {}
    for name in f.value:
        one = f.section(name)
        found[name] = EngineBenchmark(
            one.text("machine"),
            one.number("seconds") if one.has("seconds") else None,
            one.number("error"),
            one.flag("validated"),
            one.text("date"),
        )
    return found


def seconds_here(directory: Path, device: torch.device) -> dict[str, float]:
    """Return engine -> time of one inference, s, of the engines validated on this machine."""
    here = describe_machine(device)
    return {
        name: m.seconds
        for name, m in read_benchmarks(directory).items()
        if m.machine == here and m.validated and m.seconds is not None
    }
