# SPDX-License-Identifier: Apache-2.0
"""The manifest of an engine directory: the origin of its files, and the machine they run on.

An exported engine belongs to one checkpoint and embodiment; a built one also to one GPU and one
TensorRT version. A mismatch is an error that names the field, both values, and the command that
fixes it.
"""

import hashlib
import json
import logging
import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from groot_ros.checkpoint.digest import file_sample
from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.core.program import ProgramSpec, Range
from groot_ros.runtime import ATTENTION, PRECISIONS, QUANTISED, largest_rounding, tolerance_for
from groot_ros.runtime.engine import EngineFilesError, StepsNotStoredError
from groot_ros.runtime.tensorrt.availability import Machine
from groot_ros.runtime.torch_tensorrt.options import CompileOptions

MANIFEST = "manifest.json"
FORMAT = 2
#: Accepted for one version, with a warning; its field names are translated.
OLD_FORMAT = 1
_OLD_ATTENTION = {"by_hand": "math"}
#: Key -> its name in the old format.
_OLD_KEYS = {"segments": "stages", "family": "model", "reference_sha256": "oracle_sha256"}
_LOG = logging.getLogger(__name__)
#: Smallest tolerance: below the resolution of float32, no engine would validate.
_FINEST = 1e-7


@dataclass(frozen=True)
class Plan:
    """A TensorRT engine built from a segment's ONNX file, with everything that must match it."""

    file: str
    sha256: str
    onnx_sha256: str
    machine: Machine
    profile: Mapping[str, Range]
    date: str


@dataclass(frozen=True)
class SegmentFiles:
    """One exported segment.

    Attributes:
        onnx: file name; large weights are in a second file, NAME.data.
        sha256: digest of both files, see `file_digest`.
        quantised: "int8" or "fp8" if products are quantised, else empty.
        plan: the TensorRT engine, None until it is built.

    """

    onnx: str
    sha256: str
    quantised: str = ""
    plan: Plan | None = None


@dataclass(frozen=True)
class Manifest:
    """Everything that must match before engine files run.

    Attributes:
        checkpoint: path of the checkpoint at the time of the export.
        checkpoint_sha256: see `checkpoint.digest`.
        precision: element type of weights and tensors, one of `PRECISIONS`.
        steps: numbers of denoising steps with stored reference outputs.
        attention: one of `ATTENTION`.
        tolerance: largest permitted error against the reference outputs, in normalised units; at
            most `tolerance_for` this precision, rounding and quantisation.
        rounding: error of the reference model in this precision, 0 for float32.
        profile: free dimension -> its sizes.
        segments: the exported segments; PyTorch executes the others.
        image_sizes: camera sizes such as "480x640", one for all views or one per view.
        versions: package -> version used for the export.
        torch_tensorrt: options of the engine "torch_tensorrt", None if it was not requested.

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
    reference_sha256: str
    profile: Mapping[str, Range]
    segments: Mapping[str, SegmentFiles]
    date: str
    family: str = ""
    format: int = FORMAT
    backbone_assets: str = ""
    base_checkpoint: str = ""
    image_sizes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    torch_tensorrt: CompileOptions | None = None

    @classmethod
    def read(cls, directory: Path) -> "Manifest":
        """Read DIRECTORY/manifest.json.

        Raises:
            EngineFilesError: the file is missing or invalid; names the file and the key.

        """
        path, fix = directory / MANIFEST, make_command(directory)
        if not is_readable(path):
            raise EngineFilesError(f"{path}: no such file; make engine files with: {fix}")
        try:
            return _parse(Fields.read(path))
        except CheckpointError as error:
            raise EngineFilesError(f"{error}; rebuild with: {fix}") from error

    def write(self, directory: Path) -> None:
        """Write DIRECTORY/manifest.json.

        Raises:
            EngineFilesError: the manifest was read from a file of the old format.

        """
        path = directory / MANIFEST
        if self.format != FORMAT:
            raise EngineFilesError(
                f"{path}: written by groot_ros 0.1 and cannot be changed by this version; rebuild "
                f"with: {self.export_command(directory)}"
            )
        values = asdict(self)
        if self.torch_tensorrt is None:
            del values["torch_tensorrt"]
        values["profile"] = _named(self.profile)
        for name, files in self.segments.items():
            if files.plan is not None:
                values["segments"][name]["plan"]["profile"] = _named(files.plan.profile)
        path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    def key(self, name: str) -> str:
        """Return the name that a key has in the file that this manifest was read from."""
        first, dot, rest = name.partition(".")
        old = _OLD_KEYS.get(first, first) if self.format == OLD_FORMAT else first
        return f"{old}{dot}{rest}"

    def with_segment(self, name: str, files: SegmentFiles) -> "Manifest":
        """Return a copy with one segment replaced or added."""
        return replace(self, segments={**self.segments, name: files})

    def with_plan(self, segment: str, plan: Plan) -> "Manifest":
        """Return a copy with a TensorRT engine for one segment."""
        return self.with_segment(segment, replace(self.segments[segment], plan=plan))

    def export_command(
        self,
        directory: Path,
        *,
        checkpoint: str | Path = "",
        embodiment: str = "",
        steps: Iterable[int] = (),
        segments: Iterable[str] = (),
    ) -> str:
        """Return the command that makes the directory again, with the given changes."""
        text = self.profile.get("text_tokens")
        compiled = self.torch_tensorrt
        if compiled is not None:
            segments = tuple(segments) or tuple(self.segments) or compiled.segments
        return engine_command(
            "export" if compiled is None else "make",
            checkpoint=checkpoint or self.checkpoint,
            embodiment=embodiment or self.embodiment,
            backbone_assets=self.backbone_assets,
            base_checkpoint=self.base_checkpoint,
            engine_directory=directory,
            precision=self.precision,
            attention=self.attention,
            steps=tuple(steps) or self.steps,
            segments=tuple(segments) or tuple(self.segments),
            image_size=self.image_sizes,
            instruction_tokens=None if text is None else text.high - text.low,
            **({} if compiled is None else compiled.make_options(exported=bool(self.segments))),
        )

    def require_checkpoint(
        self,
        directory: Path,
        checkpoint: Path,
        sha256: str,
        embodiment: str,
        family: str,
        program: ProgramSpec,
    ) -> None:
        """Raise EngineFilesError unless this checkpoint was exported, for this embodiment."""
        export = self.export_command(
            directory,
            checkpoint=checkpoint,
            embodiment=embodiment,
            segments=[name for name in self.segments if name in program.names],
        )
        _agree(directory, self.key("family"), self.family, family, export)
        _agree(directory, "checkpoint_sha256", self.checkpoint_sha256, sha256, export)
        _agree(directory, "embodiment", self.embodiment, embodiment, export)
        named = [
            self.key(f"segments.{name}") for name in self.segments if name not in program.names
        ]
        compiled = () if self.torch_tensorrt is None else self.torch_tensorrt.segments
        named += [
            f"torch_tensorrt.segments.{name}" for name in compiled if name not in program.names
        ]
        if named:
            raise EngineFilesError(
                f"{directory / MANIFEST}: '{named[0]}' is not a segment of this checkpoint "
                f"({', '.join(program.names)}); rebuild with: {export}"
            )

    def require_steps(self, directory: Path, steps: int) -> None:
        """Raise StepsNotStoredError unless there are reference outputs for this many steps."""
        if steps not in self.steps:
            stored = ", ".join(map(str, self.steps))
            export = self.export_command(directory, steps=(*self.steps, steps))
            raise StepsNotStoredError(
                f"{directory / MANIFEST}: 'steps' is {stored}, here it is {steps}: no reference "
                f"outputs are stored for that number; rebuild with: {export}"
            )

    def require_onnx(self, directory: Path) -> None:
        """Raise EngineFilesError unless the ONNX files are those of the manifest."""
        export = self.export_command(directory)
        for name, segment in self.segments.items():
            path = directory / segment.onnx
            if not is_readable(path):
                raise EngineFilesError(
                    f"{path}: no such file, {directory / MANIFEST} names it as segment '{name}'; "
                    f"rebuild with: {export}"
                )
            key = self.key(f"segments.{name}.sha256")
            _agree(directory, key, segment.sha256, file_digest(path), export)

    def require_plans(self, directory: Path, machine: Machine) -> None:
        """Raise EngineFilesError unless every segment has a TensorRT engine for this machine."""
        build = build_command(directory)
        for name, segment in self.segments.items():
            plan, where = segment.plan, self.key(f"segments.{name}.plan")
            if plan is None:
                raise EngineFilesError(_mismatch(directory, where, "missing", "needed", build))
            _agree(directory, f"{where}.onnx_sha256", plan.onnx_sha256, segment.sha256, build)
            for name_of_size, sizes in self.profile.items():
                built_for = plan.profile.get(name_of_size, "missing")
                _agree(directory, f"{where}.profile.{name_of_size}", built_for, sizes, build)
            for key, stored in asdict(plan.machine).items():
                _agree(directory, f"{where}.machine.{key}", stored, getattr(machine, key), build)
            path = directory / plan.file
            if not is_readable(path):
                raise EngineFilesError(f"{path}: no such file; rebuild with: {build}")
            _agree(directory, f"{where}.sha256", plan.sha256, file_digest(path), build)


def file_digest(path: Path) -> str:
    """Return the sha256 (hexadecimal) of samples of a file and of its NAME.data.

    Only `file_sample` of each is read, so that gigabytes can be checked at every start.
    """
    parts = (path, path.with_name(f"{path.name}.data"))
    return hashlib.sha256(b"".join(file_sample(p) for p in parts if is_readable(p))).hexdigest()


def is_readable(path: Path) -> bool:
    """Return whether the file exists; raises EngineFilesError if it cannot be read."""
    try:
        if path.is_dir():
            raise EngineFilesError(f"{path}: is a directory; a file is expected there")
        if not path.is_file():
            return False
        path.open("rb").close()
    except OSError as error:
        raise EngineFilesError(
            f"{path}: cannot be read: {error.strerror}; give this user read permission, or "
            "use another engine_directory"
        ) from error
    return True


def _agree(directory: Path, name: str, stored: object, actual: object, command: str) -> None:
    if stored != actual:
        raise EngineFilesError(_mismatch(directory, name, stored, actual, command))


def _mismatch(directory: Path, name: str, stored: object, actual: object, command: str) -> str:
    return (
        f"{directory / MANIFEST}: '{name}' is {_shown(stored)}, here it is {_shown(actual)}; "
        f"rebuild with: {command}"
    )


def _shown(value: object) -> str:
    if isinstance(value, Range):
        return f"{value.low} to {value.high}, mostly {value.usual}"
    text = str(value) or "nothing"
    is_digest = len(text) == 64 and not set(text) - set("0123456789abcdef")
    return text[:12] if is_digest else text


def _parse(f: Fields) -> Manifest:
    old = f.get("format") == OLD_FORMAT
    if old:
        _LOG.warning(
            "%s: written by groot_ros 0.1, which the next version will not read; rebuild the "
            "engine files",
            f.where,
        )
    else:
        f.expect("format", FORMAT, None)
    names = {key: former if old else key for key, former in _OLD_KEYS.items()}
    segments = f.section(names["segments"])
    steps = f.items("steps", int)
    if not steps or min(steps) < 1 or bool in map(type, steps):
        raise f.error("steps", f"must be whole numbers from 1 on, not {list(steps)}")
    versions = f.section("versions", {})
    precision = _one_of(PRECISIONS, f, "precision")
    files = {name: _segment(segments.section(name)) for name in segments.value}
    rounding = _between(f, "rounding", 0.0, largest_rounding(precision))
    compiled = (
        CompileOptions.parse(f.section("torch_tensorrt")) if f.has("torch_tensorrt") else None
    )
    quantised = [one.quantised for one in files.values()]
    quantised += [] if compiled is None else [compiled.quantise]
    largest = tolerance_for(precision, rounding, quantised)
    return Manifest(
        checkpoint=f.text("checkpoint"),
        checkpoint_sha256=f.text("checkpoint_sha256"),
        embodiment=f.text("embodiment"),
        precision=precision,
        steps=steps,
        attention=_attention(f, old),
        opset=f.integer("opset", at_least=1),
        tolerance=_between(f, "tolerance", _FINEST, largest),
        rounding=rounding,
        reference_sha256=f.text(names["reference_sha256"]),
        profile=_profile(f.section("profile")),
        segments=files,
        date=f.text("date"),
        backbone_assets=f.text("backbone_assets", ""),
        base_checkpoint=f.text("base_checkpoint", ""),
        image_sizes=f.items("image_sizes", str, ()),
        family=f.text(names["family"]),
        format=OLD_FORMAT if old else FORMAT,
        versions={name: versions.text(name) for name in versions.value},
        torch_tensorrt=compiled,
    )


def _attention(f: Fields, old: bool) -> str:
    if old and f.text("attention") in _OLD_ATTENTION:
        return _OLD_ATTENTION[f.text("attention")]
    return _one_of(ATTENTION, f, "attention")


def _named(profile: Mapping[str, Range]) -> dict[str, dict[str, int]]:
    return {name: sizes._asdict() for name, sizes in profile.items()}


def _profile(f: Fields) -> dict[str, Range]:
    return {name: _range(f.section(name)) for name in f.value}


def _range(f: Fields) -> Range:
    low = f.integer("low", at_least=1)
    usual = f.integer("usual", at_least=low)
    return Range(low, usual, f.integer("high", at_least=usual))


def _segment(f: Fields) -> SegmentFiles:
    plan = _plan(f.section("plan")) if f.has("plan") else None
    quantised = _one_of(("", *QUANTISED), f, "quantised")
    return SegmentFiles(_file_beside(f, "onnx"), f.text("sha256"), quantised, plan)


def _file_beside(f: Fields, key: str) -> str:
    """Return a file name without directories: a manifest must not name files elsewhere."""
    name = f.text(key)
    if Path(name).name != name or name in ("", ".."):
        raise f.error(key, f"is '{name}', not the name of a file in the manifest's directory")
    return name


def _between(f: Fields, key: str, low: float, high: float) -> float:
    """Return the number at `key` as a float, if it is from `low` to `high`.

    Compares before the conversion: JSON has integers that are too large for a float.
    """
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


def engine_command(action: str, **options: object) -> str:
    """Return a shell command such as "groot-ros engine build --engine-directory engines/pick".

    Args:
        action: action of `groot-ros engine`.
        options: option name (with _ instead of -) -> value or collection of values; True for an
            option without a value. Options whose value is None, False or empty are omitted.

    """
    words = ["groot-ros", "engine", action]
    for name, value in options.items():
        if isinstance(value, bool):
            words += [f"--{name.replace('_', '-')}"] if value else []
            continue
        if isinstance(value, str | Path) or not isinstance(value, Collection):
            value = () if value in (None, "") else (value,)
        if value:
            words += [f"--{name.replace('_', '-')}", *(shlex.quote(str(one)) for one in value)]
    return " ".join(words)


def make_command(directory: Path | None = None) -> str:
    """Return the command that makes engine files, with placeholders for unknown values."""
    return engine_command(
        "make", checkpoint="CHECKPOINT", embodiment="TAG", engine_directory=directory
    )


def build_command(directory: Path) -> str:
    """Return the command that rebuilds TensorRT engines from the ONNX files."""
    return engine_command("build", engine_directory=directory)
