"""The manifest beside exported engine files: what they were made from, for which machine.

An engine belongs to one checkpoint and embodiment, and once built to one GPU and one TensorRT
version. Whatever does not agree is refused with the field, both values, and the command that
mends it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from groot_ros.runtime.tensorrt.machine import Machine
from groot_ros.types.fields import Fields

MANIFEST = "manifest.json"
FORMAT = 1
_PLACES, _BYTES = 16, 65536


class EngineFilesError(ValueError):
    """Engine files cannot be used; the message is one line: what, where, and how to mend it."""


class Range(NamedTuple):
    """Sizes of one free dimension: the least, the usual, the most."""

    low: int
    usual: int
    high: int


@dataclass(frozen=True)
class Plan:
    """A TensorRT engine built from a stage's ONNX file, and what it belongs to."""

    file: str
    sha256: str
    onnx_sha256: str
    machine: Machine
    profile: Mapping[str, Range]
    date: str


@dataclass(frozen=True)
class StageFiles:
    """One exported stage.

    Attributes:
        onnx: file name; its weights may lie beside it.
        sha256: of both, see `file_digest`.
        quantised: "int8" or "fp8" where products were, else empty.

    """

    onnx: str
    sha256: str
    quantised: str = ""
    plan: Plan | None = None


@dataclass(frozen=True)
class Manifest:
    """Everything that must agree before engine files run.

    Attributes:
        checkpoint: where it lay when it was exported.
        checkpoint_sha256: see `models.digest`.
        precision: of weights and tensors, float32, bfloat16 or float16.
        steps: numbers of denoising steps that the stored outputs prove.
        attention: "by_hand" or "fused".
        tolerance: largest error against the stored outputs, in normalised units.
        rounding: error of the plain form itself in this precision, where that was measured.
        profile: free dimension -> its sizes.
        stages: those that were exported; PyTorch runs the others.
        versions: of what exported them.

    """

    checkpoint: str
    checkpoint_sha256: str
    embodiment: str
    precision: str
    steps: tuple[int, ...]
    attention: str
    opset: int
    tolerance: float
    rounding: float
    oracle_sha256: str
    profile: Mapping[str, Range]
    stages: Mapping[str, StageFiles]
    date: str
    model: str = "gr00t_n1d6"
    format: int = FORMAT
    backbone_assets: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, directory: Path) -> "Manifest":
        """From DIRECTORY/manifest.json; raises EngineFilesError naming file and key."""
        path = directory / MANIFEST
        if not path.is_file():
            raise EngineFilesError(
                f"{path}: no such file; make engine files with: groot-ros engine make"
            )
        try:
            return _parse(Fields.read(path))
        except EngineFilesError:
            raise
        except ValueError as error:
            raise EngineFilesError(f"{error}; make it anew with: groot-ros engine make") from error

    def write(self, directory: Path) -> None:
        """To DIRECTORY/manifest.json."""
        path = directory / MANIFEST
        values = asdict(self)
        values["profile"] = _named(self.profile)
        for name, files in self.stages.items():
            if files.plan is not None:
                values["stages"][name]["plan"]["profile"] = _named(files.plan.profile)
        path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    def with_stage(self, name: str, files: StageFiles) -> "Manifest":
        """The same with one stage replaced or added."""
        return replace(self, stages={**self.stages, name: files})

    def with_plan(self, stage: str, plan: Plan) -> "Manifest":
        """The same with a TensorRT engine for one stage."""
        return self.with_stage(stage, replace(self.stages[stage], plan=plan))

    def require_checkpoint(self, directory: Path, sha256: str, embodiment: str) -> None:
        """Exported from this checkpoint, for this embodiment."""
        export = "groot-ros engine export with this checkpoint"
        _agree(directory, "checkpoint_sha256", self.checkpoint_sha256, sha256, export)
        _agree(directory, "embodiment", self.embodiment, embodiment, export)

    def require_steps(self, directory: Path, steps: int) -> None:
        """The stored outputs prove this number of denoising steps."""
        if steps not in self.steps:
            there = ", ".join(map(str, self.steps))
            again = f"groot-ros engine export --steps {there.replace(',', '')} {steps}"
            raise _mismatch(directory, "steps", there, str(steps), again)

    def require_onnx(self, directory: Path) -> None:
        """The ONNX files are those of the manifest."""
        for name, stage in self.stages.items():
            path = directory / stage.onnx
            if not path.is_file():
                raise EngineFilesError(
                    f"{path}: no such file, {directory / MANIFEST} names it as stage '{name}'; "
                    "rebuild with: groot-ros engine export"
                )
            there, here = stage.sha256, file_digest(path)
            _agree(directory, f"stages.{name}.sha256", there, here, "groot-ros engine export")

    def require_plans(self, directory: Path, machine: Machine) -> None:
        """Every stage has a TensorRT engine, of its ONNX file, for this very machine."""
        build = f"groot-ros engine build --engine-directory {directory}"
        for name, stage in self.stages.items():
            plan, where = stage.plan, f"stages.{name}.plan"
            if plan is None:
                raise _mismatch(directory, where, "missing", "needed", build)
            _agree(directory, f"{where}.onnx_sha256", plan.onnx_sha256, stage.sha256, build)
            for name_of_size, sizes in self.profile.items():
                there = plan.profile.get(name_of_size, "missing")
                _agree(directory, f"{where}.profile.{name_of_size}", there, sizes, build)
            for key, there in asdict(plan.machine).items():
                here = getattr(machine, key)
                _agree(directory, f"{where}.machine.{key}", there, here, build)
            path = directory / plan.file
            if not path.is_file():
                raise EngineFilesError(f"{path}: no such file; rebuild with: {build}")
            _agree(directory, f"{where}.sha256", plan.sha256, file_digest(path), build)


def file_digest(path: Path) -> str:
    """Sha256, hex, of a file and of the `NAME.data` beside it.

    Files up to 1 MiB whole; of larger ones the size and 64 KiB at 16 evenly spaced places, so that
    gigabytes are checked at every start.
    """
    digest = hashlib.sha256()
    for part in (path, path.with_name(f"{path.name}.data")):
        if part.is_file():
            _add(digest, part)
    return digest.hexdigest()


def _add(digest: Any, path: Path) -> None:
    size = path.stat().st_size
    digest.update(f"{path.name}\0{size}\0".encode())
    with path.open("rb") as file:
        if size <= _PLACES * _BYTES:
            digest.update(file.read())
            return
        for place in range(_PLACES):
            file.seek((size - _BYTES) * place // (_PLACES - 1))
            digest.update(file.read(_BYTES))


def _agree(directory: Path, name: str, there: object, here: object, command: str) -> None:
    if there != here:
        raise _mismatch(directory, name, there, here, command)


def _mismatch(
    directory: Path, name: str, there: object, here: object, command: str
) -> EngineFilesError:
    return EngineFilesError(
        f"{directory / MANIFEST}: '{name}' is {_shown(there)}, here it is {_shown(here)}; "
        f"rebuild with: {command}"
    )


def _shown(value: object) -> str:
    if isinstance(value, Range):
        return f"{value.low} to {value.high}, mostly {value.usual}"
    text = str(value) or "nothing"
    is_digest = len(text) == 64 and not set(text) - set("0123456789abcdef")
    return text[:12] if is_digest else text


def _parse(f: Fields) -> Manifest:
    f.expect("format", FORMAT, None)
    stages = f.section("stages")
    versions = f.section("versions", {})
    return Manifest(
        checkpoint=f.text("checkpoint"),
        checkpoint_sha256=f.text("checkpoint_sha256"),
        embodiment=f.text("embodiment"),
        precision=f.text("precision"),
        steps=f.items("steps", int),
        attention=f.text("attention"),
        opset=f.integer("opset"),
        tolerance=f.number("tolerance"),
        rounding=f.number("rounding"),
        oracle_sha256=f.text("oracle_sha256"),
        profile=_profile(f.section("profile")),
        stages={name: _stage(stages.section(name)) for name in stages.value},
        date=f.text("date"),
        model=f.text("model"),
        backbone_assets=f.text("backbone_assets", ""),
        versions={name: versions.text(name) for name in versions.value},
    )


def _named(profile: Mapping[str, Range]) -> dict[str, dict[str, int]]:
    return {name: sizes._asdict() for name, sizes in profile.items()}


def _profile(f: Fields) -> dict[str, Range]:
    return {name: _range(f.section(name)) for name in f.value}


def _range(f: Fields) -> Range:
    return Range(f.integer("low"), f.integer("usual"), f.integer("high"))


def _stage(f: Fields) -> StageFiles:
    plan = _plan(f.section("plan")) if f.has("plan") else None
    return StageFiles(f.text("onnx"), f.text("sha256"), f.text("quantised", ""), plan)


def _plan(f: Fields) -> Plan:
    m = f.section("machine")
    machine = Machine(
        tensorrt=m.text("tensorrt"),
        gpu=m.text("gpu"),
        compute_capability=m.text("compute_capability"),
        sm_count=m.integer("sm_count"),
        jetpack=m.text("jetpack"),
    )
    return Plan(
        f.text("file"),
        f.text("sha256"),
        f.text("onnx_sha256"),
        machine,
        _profile(f.section("profile")),
        f.text("date"),
    )
