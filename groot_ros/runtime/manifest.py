"""The manifest beside exported engine files: what they were made from, for which machine.

An engine belongs to one checkpoint and embodiment, and once built to one GPU and one TensorRT
version. Whatever does not agree is rejected with the field, both values, and the command that
mends it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.models.digest import file_sample
from groot_ros.runtime.commands import build_command, engine_command, make_command
from groot_ros.runtime.errors import EngineFilesError, StepsNotStoredError
from groot_ros.runtime.names import ATTENTION, PRECISIONS, QUANTISED, STAGES
from groot_ros.runtime.tensorrt.machine import Machine
from groot_ros.runtime.tolerances import largest_rounding, tolerance_for

MANIFEST = "manifest.json"
FORMAT = 1
MODEL = "gr00t_n1d6"
#: A tolerance below float32's own resolution would refuse everything.
_FINEST = 1e-7


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
        tolerance: largest error against the stored outputs, in normalised units; at most
            `tolerance_for` precision, rounding and what the stages are quantised to.
        rounding: error of the plain form itself in this precision, where that was measured.
        profile: free dimension -> its sizes.
        stages: those that were exported; PyTorch runs the others.
        image_sizes: of the cameras, as "480x640", one for all or one a view.
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
    model: str = MODEL
    format: int = FORMAT
    backbone_assets: str = ""
    image_sizes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, directory: Path) -> "Manifest":
        """From DIRECTORY/manifest.json; raises EngineFilesError naming file and key."""
        path, again = directory / MANIFEST, make_command(directory)
        if not is_readable(path):
            raise EngineFilesError(f"{path}: no such file; make engine files with: {again}")
        try:
            return _parse(Fields.read(path))
        except CheckpointError as error:
            raise EngineFilesError(f"{error}; make it anew with: {again}") from error

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

    def export_command(
        self,
        directory: Path,
        *,
        checkpoint: str | Path = "",
        embodiment: str = "",
        steps: Iterable[int] = (),
        stages: Iterable[str] = (),
    ) -> str:
        """What exports the same again, with another checkpoint, embodiment, steps or stages."""
        text = self.profile.get("text_tokens")
        return engine_command(
            "export",
            checkpoint=checkpoint or self.checkpoint,
            embodiment=embodiment or self.embodiment,
            backbone_assets=self.backbone_assets,
            engine_directory=directory,
            precision=self.precision,
            attention=self.attention,
            steps=tuple(steps) or self.steps,
            stages=tuple(stages) or tuple(self.stages),
            image_size=self.image_sizes,
            instruction_tokens=None if text is None else text.high - text.low,
        )

    def require_checkpoint(
        self, directory: Path, checkpoint: Path, sha256: str, embodiment: str
    ) -> None:
        """Exported from the checkpoint that lies there, for this embodiment."""
        export = self.export_command(directory, checkpoint=checkpoint, embodiment=embodiment)
        _agree(directory, "checkpoint_sha256", self.checkpoint_sha256, sha256, export)
        _agree(directory, "embodiment", self.embodiment, embodiment, export)

    def require_steps(self, directory: Path, steps: int) -> None:
        """The stored outputs prove this number of denoising steps."""
        if steps not in self.steps:
            there = ", ".join(map(str, self.steps))
            again = self.export_command(directory, steps=(*self.steps, steps))
            raise StepsNotStoredError(
                f"{directory / MANIFEST}: 'steps' is {there}, here it is {steps}: no answers are "
                f"stored to prove an engine with for that number; rebuild with: {again}"
            )

    def require_onnx(self, directory: Path) -> None:
        """The ONNX files are those of the manifest."""
        export = self.export_command(directory)
        for name, stage in self.stages.items():
            path = directory / stage.onnx
            if not is_readable(path):
                raise EngineFilesError(
                    f"{path}: no such file, {directory / MANIFEST} names it as stage '{name}'; "
                    f"rebuild with: {export}"
                )
            _agree(directory, f"stages.{name}.sha256", stage.sha256, file_digest(path), export)

    def require_plans(self, directory: Path, machine: Machine) -> None:
        """Every stage has a TensorRT engine, of its ONNX file, for this very machine."""
        build = build_command(directory)
        for name, stage in self.stages.items():
            plan, where = stage.plan, f"stages.{name}.plan"
            if plan is None:
                raise EngineFilesError(_mismatch(directory, where, "missing", "needed", build))
            _agree(directory, f"{where}.onnx_sha256", plan.onnx_sha256, stage.sha256, build)
            for name_of_size, sizes in self.profile.items():
                there = plan.profile.get(name_of_size, "missing")
                _agree(directory, f"{where}.profile.{name_of_size}", there, sizes, build)
            for key, there in asdict(plan.machine).items():
                here = getattr(machine, key)
                _agree(directory, f"{where}.machine.{key}", there, here, build)
            path = directory / plan.file
            if not is_readable(path):
                raise EngineFilesError(f"{path}: no such file; rebuild with: {build}")
            _agree(directory, f"{where}.sha256", plan.sha256, file_digest(path), build)


def file_digest(path: Path) -> str:
    """Sha256, hex, of `file_sample` of a file and of the `NAME.data` beside it.

    So that gigabytes are checked at every start.
    """
    parts = (path, path.with_name(f"{path.name}.data"))
    return hashlib.sha256(b"".join(file_sample(p) for p in parts if is_readable(p))).hexdigest()


def is_readable(path: Path) -> bool:
    """Whether there is such a file; raises EngineFilesError where it may not be read."""
    try:
        if not path.is_file():
            return False
        path.open("rb").close()
    except OSError as error:
        raise EngineFilesError(
            f"{path}: cannot be read: {error.strerror}; give this user the right to, or take "
            "another engine_directory"
        ) from error
    return True


def _agree(directory: Path, name: str, there: object, here: object, command: str) -> None:
    if there != here:
        raise EngineFilesError(_mismatch(directory, name, there, here, command))


def _mismatch(directory: Path, name: str, there: object, here: object, command: str) -> str:
    return (
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
    f.expect("model", MODEL, None)
    stages = f.section("stages")
    for name in stages.value:
        if name not in STAGES:
            raise stages.error(name, f"is not a stage: {', '.join(STAGES)}")
    steps = f.items("steps", int)
    if not steps or min(steps) < 1 or bool in map(type, steps):
        raise f.error("steps", f"must be whole numbers from 1 on, not {list(steps)}")
    versions = f.section("versions", {})
    precision = _one_of(PRECISIONS, f, "precision")
    files = {name: _stage(stages.section(name)) for name in stages.value}
    rounding = _between(f, "rounding", 0.0, largest_rounding(precision))
    largest = tolerance_for(precision, rounding, (one.quantised for one in files.values()))
    return Manifest(
        checkpoint=f.text("checkpoint"),
        checkpoint_sha256=f.text("checkpoint_sha256"),
        embodiment=f.text("embodiment"),
        precision=precision,
        steps=steps,
        attention=_one_of(ATTENTION, f, "attention"),
        opset=f.integer("opset", at_least=1),
        tolerance=_between(f, "tolerance", _FINEST, largest),
        rounding=rounding,
        oracle_sha256=f.text("oracle_sha256"),
        profile=_profile(f.section("profile")),
        stages=files,
        date=f.text("date"),
        backbone_assets=f.text("backbone_assets", ""),
        image_sizes=f.items("image_sizes", str, ()),
        versions={name: versions.text(name) for name in versions.value},
    )


def _named(profile: Mapping[str, Range]) -> dict[str, dict[str, int]]:
    return {name: sizes._asdict() for name, sizes in profile.items()}


def _profile(f: Fields) -> dict[str, Range]:
    return {name: _range(f.section(name)) for name in f.value}


def _range(f: Fields) -> Range:
    low = f.integer("low", at_least=1)
    usual = f.integer("usual", at_least=low)
    return Range(low, usual, f.integer("high", at_least=usual))


def _stage(f: Fields) -> StageFiles:
    plan = _plan(f.section("plan")) if f.has("plan") else None
    quantised = _one_of(("", *QUANTISED), f, "quantised")
    return StageFiles(_file_beside(f, "onnx"), f.text("sha256"), quantised, plan)


def _file_beside(f: Fields, key: str) -> str:
    """A bare name: whoever writes a manifest must not choose which files elsewhere are read."""
    name = f.text(key)
    if Path(name).name != name or name in ("", ".."):
        raise f.error(key, f"is '{name}', not the name of a file beside the manifest")
    return name


def _between(f: Fields, key: str, low: float, high: float) -> float:
    """Compared as it was written: JSON has integers that are no floats."""
    value = f.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise f.error(key, f"must be from {low:g} to {high:g} here, not {value!r:.60}")
    return float(value)


def _one_of(words: Iterable[str], f: Fields, key: str) -> str:
    word = f.text(key, "")
    if word not in words:
        raise f.error(key, f"is '{word}', not one of {', '.join(filter(None, words))}")
    return word


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
        _file_beside(f, "file"),
        f.text("sha256"),
        f.text("onnx_sha256"),
        machine,
        _profile(f.section("profile")),
        f.text("date"),
    )
