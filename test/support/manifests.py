# SPDX-License-Identifier: Apache-2.0
"""Engine manifests: one with a segment and its plan, commands in messages, unreadable files."""

import re
import shlex
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from groot_ros.cli.main import make_parser
from groot_ros.core.program import Range
from groot_ros.runtime.manifest import Manifest, Plan, SegmentFiles, file_digest
from groot_ros.runtime.tensorrt.availability import Machine

ORIN = Machine("10.3.0.30", "Orin", "8.7", 16, "L4T 36.4.3")


def manifest(directory: Path, **changes: object) -> Manifest:
    """Return a manifest with one segment; write the files that it names into the directory."""
    for name in ("denoise.onnx", "denoise.plan"):
        (directory / name).write_text(name)
    onnx = file_digest(directory / "denoise.onnx")
    profile = {"tokens": Range(100, 120, 160)}
    sha256 = file_digest(directory / "denoise.plan")
    plan = Plan("denoise.plan", sha256, onnx, ORIN, profile, "2026-11-21")
    complete = Manifest(
        checkpoint="/checkpoints/pick",
        checkpoint_sha256="a" * 64,
        embodiment="new_embodiment",
        precision="float16",
        steps=(4, 2),
        attention="math",
        opset=18,
        tolerance=5e-3,
        rounding=1e-3,
        reference_sha256="b" * 64,
        profile=profile,
        segments={"denoise": SegmentFiles("denoise.onnx", onnx, "", plan)},
        date="2026-11-21",
        family="gr00t_n1d6",
        versions={"torch": "2.13.0"},
    )
    return replace(complete, **changes)  # type: ignore[arg-type]


def parsed_hint(message: str) -> Namespace:
    """Parse the command at the end of a message with the parser of `groot-ros`."""
    (command,) = re.findall(r"groot-ros (engine .*)$", message)
    return make_parser(["engine"]).parse_args(shlex.split(command))


def make_unreadable(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Let opening this file raise PermissionError, also for root."""
    original = Path.open

    def open_or_raise(self: Path, *args: Any, **options: Any) -> Any:
        if self == path:
            raise PermissionError(13, "Permission denied", str(path))
        return original(self, *args, **options)

    monkeypatch.setattr(Path, "open", open_or_raise)
