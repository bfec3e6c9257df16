"""What an engine directory's manifest refuses, field by field."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.manifests import ORIN, make_unreadable, manifest, parsed_hint

from groot_ros.runtime.errors import EngineFilesError
from groot_ros.runtime.manifest import Manifest, Range, StageFiles, file_digest


def rejection(call, *args) -> str:
    with pytest.raises(EngineFilesError) as caught:
        call(*args)
    text = str(caught.value)
    assert "\n" not in text
    if "groot-ros" in text:
        parsed_hint(text)
    return text


def test_it_reads_back_what_it_wrote(tmp_path: Path) -> None:
    whole = manifest(tmp_path)
    whole.write(tmp_path)
    assert Manifest.read(tmp_path) == whole


def test_what_agrees_passes(tmp_path: Path) -> None:
    whole = manifest(tmp_path)
    whole.require_checkpoint(tmp_path, Path("pick"), "a" * 64, "new_embodiment")
    whole.require_steps(tmp_path, 2)
    whole.require_onnx(tmp_path)
    whole.require_plans(tmp_path, ORIN)


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
    whole = manifest(tmp_path)
    text = rejection(whole.require_plans, tmp_path, replace(ORIN, **{field: value}))
    assert f"'stages.denoise.plan.machine.{field}' is {getattr(ORIN, field)}, here it is" in text
    assert text.endswith(f"rebuild with: groot-ros engine build --engine-directory {tmp_path}")


def test_a_plan_that_is_missing_stale_or_changed_is_named(tmp_path: Path) -> None:
    whole = manifest(tmp_path)
    bare = replace(whole.stages["denoise"], plan=None)
    text = rejection(whole.with_stage("denoise", bare).require_plans, tmp_path, ORIN)
    assert "'stages.denoise.plan' is missing, here it is needed" in text
    newer = replace(whole.stages["denoise"], sha256="c" * 64)
    text = rejection(whole.with_stage("denoise", newer).require_plans, tmp_path, ORIN)
    assert "'stages.denoise.plan.onnx_sha256' is" in text
    (tmp_path / "denoise.plan").write_text("other")
    assert "'stages.denoise.plan.sha256' is" in rejection(whole.require_plans, tmp_path, ORIN)
    (tmp_path / "denoise.plan").unlink()
    assert "denoise.plan: no such file" in rejection(whole.require_plans, tmp_path, ORIN)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("d" * 64, "new_embodiment"), "'checkpoint_sha256' is aaaaaaaaaaaa, here it is dddd"),
        (("a" * 64, "gr1"), "'embodiment' is new_embodiment, here it is gr1"),
    ],
)
def test_another_checkpoint_is_named(
    tmp_path: Path, arguments: tuple[str, str], named: str
) -> None:
    text = rejection(manifest(tmp_path).require_checkpoint, tmp_path, Path("my pick"), *arguments)
    assert named in text
    hint = parsed_hint(text)
    assert (hint.action, hint.checkpoint, hint.embodiment) == ("export", "my pick", arguments[1])


def test_other_steps_are_named_with_the_command_that_adds_them(tmp_path: Path) -> None:
    text = rejection(manifest(tmp_path).require_steps, tmp_path, 8)
    assert "'steps' is 4, 2, here it is 8: no answers are stored to prove an engine with" in text
    hint = parsed_hint(text)
    assert (hint.action, hint.steps, hint.engine_directory) == ("export", [4, 2, 8], tmp_path)
    assert (hint.checkpoint, hint.precision, hint.stages) == (
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
    whole = replace(manifest(tmp_path), profile={name: Range(90, 110, 150)})
    text = rejection(whole.require_plans, tmp_path, ORIN)
    assert f"plan.profile.{name}' is {there}, here it is 90 to 150, mostly 110" in text


def test_a_changed_onnx_file_is_named_and_so_are_its_external_weights(tmp_path: Path) -> None:
    whole = manifest(tmp_path)
    (tmp_path / "denoise.onnx.data").write_bytes(b"weights")
    assert "'stages.denoise.sha256' is" in rejection(whole.require_onnx, tmp_path)


def test_the_digest_sees_a_change_at_either_end_of_a_large_file(tmp_path: Path) -> None:
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
        ('{"format": 7}', "'format' is 7, only 1 is supported"),
        ('{"format": 1}', "'model' is None, only 'gr00t_n1d6' is supported"),
        ('{"format": 1, "model": "gr00t_n1d6"}', "'stages' is missing"),
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
        (("model",), "gr00t_n1d5", "'model' is 'gr00t_n1d5', only 'gr00t_n1d6' is supported"),
        (("steps",), [], "'steps' must be whole numbers from 1 on, not []"),
        (("steps",), [True], "'steps' must be whole numbers from 1 on, not [True]"),
        (("steps",), [4, 0], "'steps' must be whole numbers from 1 on, not [4, 0]"),
        (("precision",), "float8", "'precision' is 'float8', not one of float32, bfloat16, float"),
        (("attention",), "flash", "'attention' is 'flash', not one of by_hand, fused"),
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
        (("stages", "decode"), {}, "'decode' is not a stage: vision, language, context, denoise"),
        (("stages", "denoise", "quantised"), "int2", "'quantised' is 'int2', not one of int8, fp8"),
        (("stages", "denoise", "onnx"), "../../etc/passwd", "'onnx' is '../../etc/passwd', not"),
        (("stages", "denoise", "onnx"), "..", "not the name of a file beside the manifest"),
        (("stages", "denoise", "onnx"), "", "not the name of a file beside the manifest"),
        (("stages", "denoise", "plan", "file"), "/tmp/x.plan", "'file' is '/tmp/x.plan', not the"),
    ],
)
def test_a_manifest_that_asks_for_what_there_is_not_names_the_key(
    tmp_path: Path, keys: tuple[str, ...], value: object, problem: str
) -> None:
    manifest(tmp_path).write(tmp_path)
    path = tmp_path / "manifest.json"
    whole = json.loads(path.read_text())
    inner = whole
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(whole))
    assert problem in rejection(Manifest.read, tmp_path)


def with_value(directory: Path, key: str, value: object) -> Path:
    """The manifest with another value of one key, whatever it is."""
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
        ({"stages": {"vision": StageFiles("vision.onnx", "c" * 64, "int8")}}, 0.05),
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


def test_float32_loses_nothing_to_its_own_precision(tmp_path: Path) -> None:
    manifest(tmp_path, precision="float32", rounding=1e-3, tolerance=1e-4).write(tmp_path)
    assert "'rounding' must be from 0 to 0 here, not 0.001" in rejection(Manifest.read, tmp_path)


@pytest.mark.parametrize("name", ["denoise.onnx", "denoise.onnx.data", "denoise.plan"])
def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = manifest(tmp_path)
    (tmp_path / "denoise.onnx.data").write_bytes(b"weights")
    files = replace(whole.stages["denoise"], sha256=file_digest(tmp_path / "denoise.onnx"))
    assert files.plan is not None
    plan = replace(files.plan, onnx_sha256=files.sha256)
    whole = whole.with_stage("denoise", replace(files, plan=plan))
    make_unreadable(monkeypatch, tmp_path / name)
    check = (whole.require_plans, tmp_path, ORIN) if name.endswith("plan") else ()
    text = rejection(*(check or (whole.require_onnx, tmp_path)))
    assert f"{name}: cannot be read: Permission denied" in text


def test_a_directory_that_may_not_be_looked_into_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest(tmp_path).write(tmp_path)
    make_unreadable(monkeypatch, tmp_path / "manifest.json")
    assert "manifest.json: cannot be read: Permission denied" in rejection(Manifest.read, tmp_path)


def test_a_missing_onnx_file_says_how_to_export_it_again(tmp_path: Path) -> None:
    whole = replace(
        manifest(tmp_path),
        backbone_assets="/the vlm",
        image_sizes=("48x64", "112x400"),
        profile={"text_tokens": Range(30, 46, 50)},
    )
    (tmp_path / "denoise.onnx").unlink()
    hint = parsed_hint(rejection(whole.require_onnx, tmp_path))
    assert (hint.backbone_assets, hint.attention, hint.steps) == ("/the vlm", "by_hand", [4, 2])
    assert (hint.image_size, hint.instruction_tokens) == ([(48, 64), (112, 400)], 20)
