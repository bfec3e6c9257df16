# SPDX-License-Identifier: Apache-2.0
"""The manifest of an engine directory: values it rejects, field by field, and commands it names."""

import json
import logging
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.manifests import ORIN, make_unreadable, manifest, parsed_hint
from support.version_0_1 import old_manifest

import groot_ros
from groot_ros.core.program import ProgramSpec, Range, Segment
from groot_ros.runtime.engine import EngineFilesError, StepsNotStoredError
from groot_ros.runtime.engines import unavailable_reason
from groot_ros.runtime.manifest import (
    Manifest,
    SegmentFiles,
    build_command,
    engine_command,
    file_digest,
    make_command,
)
from groot_ros.runtime.torch_tensorrt.options import CompileOptions

PACKAGE = Path(groot_ros.__file__).parent
PROGRAM = ProgramSpec(
    tuple(Segment(name, name, (), ()) for name in ("vision", "denoise")), results=()
)


def rejection(call, *args) -> str:
    with pytest.raises(EngineFilesError) as caught:
        call(*args)
    text = str(caught.value)
    assert "\n" not in text
    if "groot-ros" in text:
        parsed_hint(text)
    return text


def test_it_reads_back_what_it_wrote(tmp_path: Path) -> None:
    complete = manifest(tmp_path)
    complete.write(tmp_path)
    assert Manifest.read(tmp_path) == complete


def test_what_agrees_passes(tmp_path: Path) -> None:
    complete = manifest(tmp_path)
    complete.require_checkpoint(
        tmp_path, Path("pick"), "a" * 64, "new_embodiment", "gr00t_n1d6", PROGRAM
    )
    complete.require_steps(tmp_path, 2)
    complete.require_onnx(tmp_path)
    complete.require_plans(tmp_path, ORIN)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tensorrt", "10.13.3.9"),
        ("gpu", "Orin NX"),
        ("sm_count", 8),
        ("compute_capability", "11.0"),
        ("jetpack", ""),
    ],
)
def test_a_plan_of_another_machine_names_the_field_and_the_command(
    tmp_path: Path, field: str, value: object
) -> None:
    text = rejection(manifest(tmp_path).require_plans, tmp_path, replace(ORIN, **{field: value}))
    assert f"'segments.denoise.plan.machine.{field}' is {getattr(ORIN, field)}, here it is" in text
    assert text.endswith(f"rebuild with: groot-ros engine build --engine-directory {tmp_path}")


def test_a_plan_that_is_missing_stale_or_changed_is_named(tmp_path: Path) -> None:
    complete = manifest(tmp_path)
    bare = replace(complete.segments["denoise"], plan=None)
    text = rejection(complete.with_segment("denoise", bare).require_plans, tmp_path, ORIN)
    assert "'segments.denoise.plan' is missing, here it is needed" in text
    newer = replace(complete.segments["denoise"], sha256="c" * 64)
    text = rejection(complete.with_segment("denoise", newer).require_plans, tmp_path, ORIN)
    assert "'segments.denoise.plan.onnx_sha256' is" in text
    (tmp_path / "denoise.plan").write_text("other")
    assert "'segments.denoise.plan.sha256' is" in rejection(complete.require_plans, tmp_path, ORIN)
    (tmp_path / "denoise.plan").unlink()
    assert "denoise.plan: no such file" in rejection(complete.require_plans, tmp_path, ORIN)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"sha256": "d" * 64}, "'checkpoint_sha256' is aaaaaaaaaaaa, here it is dddd"),
        ({"embodiment": "gr1"}, "'embodiment' is new_embodiment, here it is gr1"),
        ({"family": "gr00t_n1d5"}, "'family' is gr00t_n1d6, here it is gr00t_n1d5"),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
)
def test_another_checkpoint_is_named(tmp_path: Path, changes: dict[str, str], named: str) -> None:
    given = {"sha256": "a" * 64, "embodiment": "new_embodiment", "family": "gr00t_n1d6", **changes}
    text = rejection(
        manifest(tmp_path).require_checkpoint, tmp_path, Path("my pick"), *given.values(), PROGRAM
    )
    assert named in text
    hint = parsed_hint(text)
    assert (hint.action, hint.checkpoint) == ("export", "my pick")
    assert hint.embodiment == given["embodiment"]


def test_a_segment_that_the_checkpoint_lacks_is_named(tmp_path: Path) -> None:
    complete = manifest(tmp_path)
    other = complete.with_segment("decode", complete.segments["denoise"])
    given = (Path("pick"), "a" * 64, "new_embodiment", "gr00t_n1d6", PROGRAM)
    text = rejection(other.require_checkpoint, tmp_path, *given)
    problem = "'segments.decode' is not a segment of this checkpoint (vision, denoise)"
    assert f"{tmp_path / 'manifest.json'}: {problem}; rebuild with: " in text


def test_other_steps_are_named_with_the_command_that_adds_them(tmp_path: Path) -> None:
    with pytest.raises(StepsNotStoredError) as caught:
        manifest(tmp_path).require_steps(tmp_path, 8)
    text = str(caught.value)
    problem = "'steps' is 4, 2, here it is 8: no reference outputs are stored for that number"
    assert problem in text
    hint = parsed_hint(text)
    assert (hint.action, hint.steps, hint.engine_directory) == ("export", [4, 2, 8], tmp_path)
    assert (hint.checkpoint, hint.precision, hint.segments) == (
        "/checkpoints/pick",
        "float16",
        ["denoise"],
    )


@pytest.mark.parametrize(
    ("name", "there"), [("tokens", "100 to 160, mostly 120"), ("views", "missing")]
)
def test_a_plan_built_for_other_sizes_names_the_dimension(
    tmp_path: Path, name: str, there: str
) -> None:
    complete = replace(manifest(tmp_path), profile={name: Range(90, 110, 150)})
    text = rejection(complete.require_plans, tmp_path, ORIN)
    assert f"plan.profile.{name}' is {there}, here it is 90 to 150, mostly 110" in text


def test_a_changed_onnx_file_is_named_and_so_are_its_external_weights(tmp_path: Path) -> None:
    complete = manifest(tmp_path)
    (tmp_path / "denoise.onnx.data").write_bytes(b"weights")
    assert "'segments.denoise.sha256' is" in rejection(complete.require_onnx, tmp_path)


def test_the_digest_changes_with_a_change_at_either_end_of_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "large"
    data = bytearray(3 * 2**20)
    found = set()
    for place in (None, 0, len(data) - 1):
        if place is not None:
            data[place] = 1
        path.write_bytes(data)
        found.add(file_digest(path))
    path.write_bytes(data + b"\0")
    assert len(found | {file_digest(path)}) == 4


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not valid JSON"),
        ('{"format": 7}', "'format' is 7, only 2 is supported"),
        ("{}", "'format' is missing"),
        ('{"format": 2}', "'segments' is missing"),
        ('{"format": 1}', "'stages' is missing"),
    ],
)
def test_a_broken_manifest_is_one_line(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    found = rejection(Manifest.read, tmp_path)
    assert problem in found
    assert "groot-ros engine make" in found
    (tmp_path / "manifest.json").unlink()
    assert "no such file" in rejection(Manifest.read, tmp_path)


@pytest.mark.parametrize(
    ("keys", "value", "problem"),
    [
        (("family",), 7, "'family' must be a string, not 7"),
        (("steps",), [], "'steps' must be whole numbers from 1 on, not []"),
        (("steps",), [True], "'steps' must be whole numbers from 1 on, not [True]"),
        (("steps",), [4, 0], "'steps' must be whole numbers from 1 on, not [4, 0]"),
        (("precision",), "float8", "'precision' is 'float8', not one of float32, bfloat16, float"),
        (("attention",), "flash", "'attention' is 'flash', not one of math, fused"),
        (("attention",), "by_hand", "'attention' is 'by_hand', not one of math, fused"),
        (("opset",), 0, "'opset' must be a whole number >= 1, not 0"),
        (
            ("profile", "tokens", "low"),
            130,
            "profile.tokens: 'usual' must be a whole number >= 130",
        ),
        (("profile", "tokens", "low"), 0, "profile.tokens: 'low' must be a whole number >= 1"),
        (
            ("profile", "tokens", "high"),
            110,
            "profile.tokens: 'high' must be a whole number >= 120",
        ),
        (
            ("segments", "denoise", "quantised"),
            "int2",
            "'quantised' is 'int2', not one of int8, fp8",
        ),
        (("segments", "denoise", "onnx"), "../../etc/passwd", "'onnx' is '../../etc/passwd', not"),
        (("segments", "denoise", "onnx"), "..", "not the name of a file in the manifest's dir"),
        (("segments", "denoise", "onnx"), "", "not the name of a file in the manifest's dir"),
        (("segments", "denoise", "plan", "file"), "/tmp/x.plan", "'file' is '/tmp/x.plan', not"),
    ],
)
def test_a_wrong_value_names_the_key(
    tmp_path: Path, keys: tuple[str, ...], value: object, problem: str
) -> None:
    manifest(tmp_path).write(tmp_path)
    path = tmp_path / "manifest.json"
    complete = json.loads(path.read_text())
    inner = complete
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(complete))
    assert problem in rejection(Manifest.read, tmp_path)


def with_value(directory: Path, key: str, value: object) -> Path:
    """Write a manifest with another value of one key."""
    manifest(directory).write(directory)
    path = directory / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    return directory


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, 10**400, 0.0051, 1e9, True, "1"])
def test_a_tolerance_beyond_what_the_precision_allows_is_rejected(
    tmp_path: Path, value: object
) -> None:
    text = rejection(Manifest.read, with_value(tmp_path, "tolerance", value))
    assert "'tolerance' must be from 1e-07 to 0.005 here, not " in text


@pytest.mark.parametrize("value", [-1e-9, np.nan, np.inf, 0.11, 10**400])
def test_a_rounding_that_would_allow_anything_is_rejected(tmp_path: Path, value: object) -> None:
    text = rejection(Manifest.read, with_value(tmp_path, "rounding", value))
    assert "'rounding' must be from 0 to 0.1 here, not " in text


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({"rounding": 0.004}, 0.008),
        ({"precision": "bfloat16", "rounding": 0.0}, 0.03),
        ({"precision": "float32", "rounding": 0.0}, 1e-4),
        ({"segments": {"vision": SegmentFiles("vision.onnx", "c" * 64, "int8")}}, 0.05),
    ],
)
def test_the_tolerance_may_be_all_that_precision_rounding_and_quantisation_allow(
    tmp_path: Path, changes: dict[str, object], allowed: float
) -> None:
    manifest(tmp_path, tolerance=allowed, **changes).write(tmp_path)
    assert Manifest.read(tmp_path).tolerance == allowed
    manifest(tmp_path, tolerance=1.01 * allowed, **changes).write(tmp_path)
    assert f"'tolerance' must be from 1e-07 to {allowed:g} here" in rejection(
        Manifest.read, tmp_path
    )


def test_float32_has_no_rounding_of_its_own(tmp_path: Path) -> None:
    manifest(tmp_path, precision="float32", rounding=1e-3, tolerance=1e-4).write(tmp_path)
    assert "'rounding' must be from 0 to 0 here, not 0.001" in rejection(Manifest.read, tmp_path)


@pytest.mark.parametrize("name", ["denoise.onnx", "denoise.onnx.data", "denoise.plan"])
def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = manifest(tmp_path)
    (tmp_path / "denoise.onnx.data").write_bytes(b"weights")
    files = replace(complete.segments["denoise"], sha256=file_digest(tmp_path / "denoise.onnx"))
    assert files.plan is not None
    plan = replace(files.plan, onnx_sha256=files.sha256)
    complete = complete.with_segment("denoise", replace(files, plan=plan))
    make_unreadable(monkeypatch, tmp_path / name)
    check = (complete.require_plans, tmp_path, ORIN) if name.endswith("plan") else ()
    text = rejection(*(check or (complete.require_onnx, tmp_path)))
    assert f"{name}: cannot be read: Permission denied" in text


def test_a_manifest_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest(tmp_path).write(tmp_path)
    make_unreadable(monkeypatch, tmp_path / "manifest.json")
    assert "manifest.json: cannot be read: Permission denied" in rejection(Manifest.read, tmp_path)


def test_a_missing_onnx_file_names_the_command_that_exports_it_again(tmp_path: Path) -> None:
    complete = replace(
        manifest(tmp_path),
        backbone_assets="/the vlm",
        base_checkpoint="/the base",
        image_sizes=("48x64", "112x400"),
        profile={"text_tokens": Range(30, 46, 50)},
    )
    (tmp_path / "denoise.onnx").unlink()
    hint = parsed_hint(rejection(complete.require_onnx, tmp_path))
    assert (hint.backbone_assets, hint.attention, hint.steps) == ("/the vlm", "math", [4, 2])
    assert hint.base_checkpoint == "/the base"
    assert (hint.image_size, hint.instruction_tokens) == ([(48, 64), (112, 400)], 20)


def written_by_0_1(directory: Path, **changes: object) -> Path:
    """Write the manifest of `support.manifests` as groot_ros 0.1 did; return its path."""
    manifest(directory).write(directory)
    path = directory / "manifest.json"
    path.write_text(json.dumps({**old_manifest(json.loads(path.read_text())), **changes}))
    return path


def test_the_format_of_version_0_1_is_read_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written_by_0_1(tmp_path)
    assert set(json.loads(path.read_text())) == {
        *("format", "model", "checkpoint", "checkpoint_sha256", "embodiment", "backbone_assets"),
        *("precision", "steps", "attention", "opset", "tolerance", "rounding", "oracle_sha256"),
        *("profile", "stages", "date", "image_sizes", "versions"),
    }
    assert Manifest.read(tmp_path) == manifest(tmp_path, format=1)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"{path}: written by groot_ros 0.1, which the next version will not "
        "read; rebuild the engine files"
    )


def test_an_error_about_the_old_format_names_the_keys_of_the_file(tmp_path: Path) -> None:
    old, new = manifest(tmp_path, format=1), manifest(tmp_path)
    keys = ("family", "segments.denoise.sha256", "embodiment")
    assert [old.key(name) for name in keys] == ["model", "stages.denoise.sha256", "embodiment"]
    assert [new.key(name) for name in keys] == list(keys)


def test_the_format_of_version_0_1_knows_the_other_attention_too(tmp_path: Path) -> None:
    written_by_0_1(tmp_path, attention="fused")
    assert Manifest.read(tmp_path).attention == "fused"
    written_by_0_1(tmp_path, attention="flash")
    assert "'attention' is 'flash', not one of" in rejection(Manifest.read, tmp_path)


def test_a_manifest_of_version_0_1_is_never_changed(tmp_path: Path) -> None:
    path = written_by_0_1(tmp_path)
    before, old = path.read_bytes(), Manifest.read(tmp_path)
    text = rejection(old.write, tmp_path)
    assert text.startswith(f"{path}: written by groot_ros 0.1 and cannot be changed")
    assert parsed_hint(text).action == "export"
    assert path.read_bytes() == before


def test_values_of_a_command_are_quoted_and_empty_ones_omitted() -> None:
    command = engine_command("export", checkpoint="/my pick", steps=(4, 2), backbone_assets="")
    assert command == "groot-ros engine export --checkpoint '/my pick' --steps 4 2"


@pytest.mark.parametrize(
    ("command", "action"),
    [
        (make_command(), "make"),
        (make_command(Path("engines/pick")), "make"),
        (build_command(Path("my engines")), "build"),
        (unavailable_reason("onnxruntime", torch.device("cpu"), None), "make"),
    ],
)
def test_every_command_is_one_that_the_parser_accepts(command: str, action: str) -> None:
    assert parsed_hint(command).action == action


def test_no_other_module_spells_a_command_out() -> None:
    """Every other hint comes from here, so a renamed option cannot leave an old one behind."""
    packages = ("runtime", "export", "policy", "families", "layers", "checkpoint", "processing")
    spelt = re.compile(r"with:? \(?groot-ros |: groot-ros engine")
    files = [file for name in packages for file in (PACKAGE / name).rglob("*.py")]
    assert len(files) > 50
    found = [str(file) for file in files if spelt.search(file.read_text(encoding="utf-8"))]
    assert found == []


def test_options_of_torch_tensorrt_are_stored_and_repeated_by_the_command(tmp_path: Path) -> None:
    options = CompileOptions(
        ("context", "denoise"), False, True, "int8", ("denoise",), 5, 2**30
    )  # fmt: skip
    complete = manifest(tmp_path, torch_tensorrt=options, segments={}, tolerance=5e-2)
    complete.write(tmp_path)
    assert Manifest.read(tmp_path) == complete
    given = parsed_hint(complete.export_command(tmp_path))
    assert (given.action, given.engine) == ("make", ["torch_tensorrt"])
    assert given.segments == ["context", "denoise"]
    assert (given.explicit_typing, given.fp32_accumulation) == (False, True)
    assert (given.quantise, given.quantised_segments) == ("int8", ["denoise"])
    assert given.optimisation_level == 5
    replace(complete, torch_tensorrt=replace(options, quantise="int2")).write(tmp_path)
    with pytest.raises(EngineFilesError, match="torch_tensorrt: 'quantise' must be one of"):
        Manifest.read(tmp_path)
    exported = manifest(tmp_path, torch_tensorrt=CompileOptions(("denoise",)))
    assert parsed_hint(exported.export_command(tmp_path)).engine == [
        "torch_tensorrt", "onnxruntime",
    ]  # fmt: skip
