"""How fast and how exact each engine was on this machine, beside the engine files."""

import json
import logging
import platform
import re
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import torch

from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.runtime.errors import EngineFilesError
from groot_ros.runtime.manifest import is_readable
from groot_ros.runtime.oracle import ValidationResult
from groot_ros.runtime.placement import in_words

MEASURED = "measured.json"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """One engine on one machine.

    Attributes:
        machine: see `machine_in_words`.
        seconds: median time of one inference, without processing; None before it was measured.
        error: see `ValidationResult`.
        date: day, UTC.

    """

    machine: str
    seconds: float | None
    error: float
    proven: bool
    date: str


def machine_in_words(device: torch.device) -> str:
    """The GPU, or the processor where the model runs on the CPU."""
    return in_words(device) if device.type == "cuda" else f"{device} ({processor_name()})"


def processor_name() -> str:
    """As /proc/cpuinfo calls it."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()


def threads_in_words() -> str:
    """Of one operator on the CPU."""
    return f"{torch.get_num_threads()} threads"


def today() -> str:
    """Day in UTC."""
    return datetime.now(timezone.utc).date().isoformat()


def remember(
    directory: Path,
    engine: str,
    verdict: ValidationResult,
    device: torch.device,
    seconds: float | None = None,
) -> None:
    """Add one engine's figures to the file.

    Without `seconds`, a time that was measured on this machine before stays: that of a proof is
    the shortest of few, no median. A file that cannot be written is a warning: it is a hint.
    """
    known = read_measured(directory)
    machine = machine_in_words(device)
    before = known.get(engine)
    if seconds is None and before is not None and before.machine == machine:
        seconds = before.seconds
    error = verdict.error if verdict.error == verdict.error else -1.0
    known[engine] = Measured(machine, seconds, error, verdict.proven, today())
    text = json.dumps({name: asdict(m) for name, m in known.items()}, indent=2)
    try:
        (directory / MEASURED).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        _LOG.warning("%s: cannot be written: %s", directory / MEASURED, error.strerror)


def read_measured(directory: Path) -> dict[str, Measured]:
    """Engine -> its figures, whatever the machine; nothing where there is no file.

    The file is a hint, so one that cannot be read is a warning, and as good as none.
    """
    path = directory / MEASURED
    try:
        return _parse(Fields.read(path)) if is_readable(path) else {}
    except (CheckpointError, EngineFilesError) as error:
        _LOG.warning("%s; as good as none until engines are measured anew", error)
        return {}


def _parse(f: Fields) -> dict[str, Measured]:
    found = {}
    for name in f.value:
        one = f.section(name)
        found[name] = Measured(
            one.text("machine"),
            one.number("seconds") if one.has("seconds") else None,
            one.number("error"),
            one.flag("proven"),
            one.text("date"),
        )
    return found


def seconds_here(directory: Path, device: torch.device) -> dict[str, float]:
    """Engine -> seconds, of those proven on this very machine."""
    here = machine_in_words(device)
    return {
        name: m.seconds
        for name, m in read_measured(directory).items()
        if m.machine == here and m.proven and m.seconds is not None
    }
