"""A manifest with one stage and its plan, as on an Orin, and its commands for a shell."""

import re
import shlex
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from groot_ros.cli.main import make_parser
from groot_ros.runtime.manifest import Manifest, Plan, Range, StageFiles, file_digest
from groot_ros.runtime.tensorrt.machine import Machine

ORIN = Machine("10.3.0.30", "Orin", "8.7", 16, "L4T 36.4.3")


def manifest(directory: Path, **changes: object) -> Manifest:
    """With the files that it names."""
    for name in ("denoise.onnx", "denoise.plan"):
        (directory / name).write_text(name)
    onnx = file_digest(directory / "denoise.onnx")
    profile = {"tokens": Range(100, 120, 160)}
    sha256 = file_digest(directory / "denoise.plan")
    plan = Plan("denoise.plan", sha256, onnx, ORIN, profile, "2026-11-21")
    whole = Manifest(
        checkpoint="/checkpoints/pick",
        checkpoint_sha256="a" * 64,
        embodiment="new_embodiment",
        precision="float16",
        steps=(4, 2),
        attention="by_hand",
        opset=18,
        tolerance=5e-3,
        rounding=1e-3,
        oracle_sha256="b" * 64,
        profile=profile,
        stages={"denoise": StageFiles("denoise.onnx", onnx, "", plan)},
        date="2026-11-21",
        versions={"torch": "2.13.0"},
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def parsed_hint(message: str) -> Namespace:
    """The command at the end of a message, as `groot-ros` itself reads it; exits if it cannot."""
    (command,) = re.findall(r"groot-ros (engine .*)$", message)
    return make_parser(["engine"]).parse_args(shlex.split(command))
