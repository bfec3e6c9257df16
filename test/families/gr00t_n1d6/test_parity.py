# SPDX-License-Identifier: Apache-2.0
"""`test/parity.py`: every golden tensor equals the reference's, and broken sets fail."""

import json
import shutil
from pathlib import Path

import numpy as np
import parity
import pytest
import torch
from golden.arrays import GoldenSet
from golden.comparison import TOKENIZER, UnavailableError, compare, same
from golden.formats import format_of, sets_in
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from support.reference_tokenizer import write_reference_tokenizer

from groot_ros.checkpoint.locate import has_tokenizer

GOLDEN = Path(__file__).resolve().parents[2] / "data" / "golden"
SETS = [
    folder
    for folder in sets_in(GOLDEN)
    if folder.name != "n1d6_policy" and "n1d6" in str(folder.relative_to(GOLDEN))
]
pytestmark = pytest.mark.slow
EMBEDDINGS = "backbone.model.language_model.model.embed_tokens.weight"


def failures(comparisons) -> list[str]:
    return [str(result) for result in comparisons if not result.passed]


@pytest.fixture(autouse=True)
def without_shared_files(reference_tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the golden sets use the tokenizer of the repository."""
    for module in ("vision_language", "policy"):
        monkeypatch.setattr(f"golden.{module}.TOKENIZER", reference_tokenizer)


@pytest.mark.parametrize("folder", SETS, ids=lambda folder: str(folder.relative_to(GOLDEN)))
@torch.no_grad()
def test_every_tensor_of_the_set_equals_the_reference(folder: Path) -> None:
    seen = []
    try:
        seen.extend(format_of(folder).comparisons(GoldenSet(folder)))
    except UnavailableError as reason:
        assert len(seen) > 20
        assert not failures(seen)
        pytest.skip(f"the rest of {folder.name}: {reason}")
    assert len(seen) >= 20
    assert not failures(seen)


@pytest.fixture
def policy_set(tmp_path: Path) -> Path:
    """Return the golden policy with complete embeddings and the reduced reference tokenizer."""
    folder = tmp_path / "n1d6_policy"
    shutil.copytree(GOLDEN / "n1d6_policy", folder)
    trimmed = folder / "checkpoint" / "trimmed.safetensors"
    weights = load_file(trimmed)
    trimmed.unlink()
    rows, ids = weights.pop("embedding_rows"), weights.pop("embedding_ids")
    weights[EMBEDDINGS] = torch.zeros(151680, rows.shape[1])
    weights[EMBEDDINGS][ids] = rows
    save_file(weights, folder / "checkpoint" / "model.safetensors")
    write_reference_tokenizer(folder / "checkpoint")
    return folder


@torch.no_grad()
def test_images_and_text_give_the_robot_actions_of_the_reference(policy_set: Path) -> None:
    seen = list(format_of(policy_set).comparisons(GoldenSet(policy_set)))
    assert [r.name for r in seen if r.name.startswith("action.")] == [
        "action.single_arm",
        "action.gripper",
    ]
    assert not failures(seen)


def test_the_complete_tokenizer_gives_the_robot_actions_of_the_reference() -> None:
    folder = TOKENIZER.parent / "golden" / "n1d6_policy"
    if not folder.is_dir() or not has_tokenizer(TOKENIZER):
        pytest.skip(f"needs {folder} and {TOKENIZER}")
    assert parity.main([str(folder)]) == 0


def test_one_wrong_weight_fails_the_comparison(tmp_path: Path) -> None:
    folder = tmp_path / "plain_dit"
    shutil.copytree(GOLDEN / "n1d6_action_head" / "plain_dit", folder)
    path = folder / "state_dict.safetensors"
    weights = load_file(path)
    weights["model.proj_out_2.bias"][0] += 1e-3
    save_file(weights, path)
    assert parity.main([str(folder)]) == 1


def test_a_folder_without_a_golden_set_fails(tmp_path: Path) -> None:
    assert parity.main([str(tmp_path)]) == 1


@pytest.mark.parametrize(
    ("tensors", "model"),
    [
        (("paligemma_with_expert.0.weight", "paligemma_with_expert.1.weight"), "pi0"),
    ],
)
def test_a_set_of_another_model_is_unknown_and_does_not_count_as_passed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tensors: tuple[str, ...], model: str
) -> None:
    folder = tmp_path / "sets" / "other"
    shutil.copytree(GOLDEN / "n1d6_action_head" / "plain_dit", folder)
    save_file({name: torch.zeros(1) for name in tensors}, folder / "state_dict.safetensors")
    assert parity.main([str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        f"UNKNOWN {folder}: a set of {model}, a model that this version does not have"
    )
    assert lines[-1] == "FAIL: 1 UNKNOWN"
    shutil.copytree(GOLDEN / "n1d6_action_head" / "plain_dit", tmp_path / "sets" / "ours")
    assert parity.main([str(tmp_path / "sets")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("PASS: 1 PASS, 1 UNKNOWN; ")


def test_a_set_of_an_unknown_model_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "state_dict.safetensors")
    assert parity.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "FAIL: 1 FAIL"


def edited_copy(tmp_path: Path, name: str, file: str, edit) -> Path:
    """Copy a golden set and edit the arrays of one file."""
    folder = tmp_path / Path(name).name
    shutil.copytree(GOLDEN / name, folder)
    path = folder / file
    if path.suffix == ".npz":
        arrays = dict(np.load(path))
        edit(arrays)
        np.savez(path, **arrays)
    elif path.suffix == ".json":
        listed = json.loads(path.read_text())
        edit(listed)
        path.write_text(json.dumps(listed))
    else:
        tensors = load_file(path)
        edit(tensors)
        save_file(tensors, path)
    return folder


HEAD, SO100 = "n1d6_action_head/plain_dit", "n1d6_processor/so100_relative"


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("name", ["dit0.out", "vlln_features", "train.loss"])
def test_a_golden_value_that_is_not_finite_fails_if_ours_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, value: float
) -> None:
    def edit(golden: dict) -> None:
        golden[name].view(-1)[0] = value

    assert parity.main([str(edited_copy(tmp_path, HEAD, "outputs.safetensors", edit))]) == 1
    text = capsys.readouterr().out
    failed = [line for line in text.splitlines() if line.startswith("  FAIL")]
    assert len(failed) == 1
    assert f"{name}: golden has 1 values that are not finite" in failed[0]


@settings(deadline=None)
@given(st.lists(st.floats(width=32), min_size=1, max_size=6), st.floats(width=32))
def test_a_comparison_passes_only_within_the_tolerance(values: list[float], other: float) -> None:
    golden = np.array(values, dtype=np.float32)
    assert compare("a", golden, golden).passed
    assert same("a", golden, golden).passed
    changed = golden.copy()
    changed[0] = other
    finite = float(np.abs(golden[np.isfinite(golden)]).max(initial=1.0))
    equal = values[0] == other or (np.isnan(values[0]) and np.isnan(other))
    near = np.isfinite(other) and abs(other - values[0]) <= 1e-5 * finite
    assert compare("a", changed, golden).passed == bool(equal or near)


@pytest.mark.parametrize(
    ("name", "file", "key", "cast"),
    [
        (SO100, "state_action.npz", "0.state", lambda a: a.astype(str)),
        (SO100, "state_action.npz", "0.state", lambda a: a.astype(complex)),
        (SO100, "state_action.npz", "0.embodiment_id", lambda a: a.astype(np.float32)),
        (HEAD, "outputs.safetensors", "step0.timestep", lambda a: a.float()),
    ],
)
def test_a_golden_array_of_another_kind_of_number_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, file: str, key: str, cast
) -> None:
    folder = edited_copy(
        tmp_path, name, file, lambda arrays: arrays.update({key: cast(arrays[key])})
    )
    assert parity.main([str(folder)]) == 1
    assert f"{key}: " in capsys.readouterr().out.split("  FAIL")[1].splitlines()[0]


def drop(*beginnings: str):
    """Return an edit that removes arrays whose names have this prefix."""

    def edit(arrays: dict) -> None:
        for name in [name for name in arrays if name.startswith(beginnings)]:
            del arrays[name]

    return edit


@pytest.mark.parametrize(
    ("name", "file", "edit", "missing", "count"),
    [
        (HEAD, "outputs.safetensors", drop("train.loss"), "outputs.safetensors: train.loss", 37),
        (HEAD, "outputs.safetensors", drop("step", "dit0"), "step*.dit_out (4), step*.pred", 10),
        (HEAD, "inputs.safetensors", drop("train_"), "train_noise, train_t", 33),
        (
            "n1d6_full",
            "outputs.safetensors",
            drop("b", "v", "state", "train", "image"),
            "outputs.safetensors: backbone_features, vlln_features, state_features",
            10,
        ),
        (
            "n1d6_backbone",
            "same_res.outputs.safetensors",
            drop("vit.", "logits_last", "eager."),
            "eager.backbone_features, logits_last",
            65,
        ),
    ],
)
def test_missing_optional_arrays_are_listed_and_the_set_passes(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    file,
    edit,
    missing: str,
    count: int,
) -> None:
    folder = edited_copy(tmp_path, name, file, edit)
    assert parity.main([str(folder)]) == 0
    line, total = (x for x in capsys.readouterr().out.splitlines() if x.startswith("PASS"))
    assert line.startswith(f"PASS {folder}: {count} tensors, ")
    assert missing in line.partition("not compared, as the set lacks it: ")[2]
    assert "not compared, as sets lack them: " in total


def empty(key: str):
    """Return an edit that empties the value of a key."""
    return lambda listed: listed.update({key: type(listed[key])()})


@pytest.mark.parametrize(
    ("name", "file", "edit", "problem"),
    [
        (HEAD, "outputs.safetensors", drop("action_pred"), "lacks 'action_pred'"),
        ("n1d6_full", "outputs.safetensors", drop("action_pred"), "lacks 'action_pred'"),
        (
            "n1d6_backbone",
            "same_res.outputs.safetensors",
            drop("backbone_features"),
            "same_res.outputs.safetensors lacks 'backbone_features'",
        ),
        (SO100, "state_action.npz", drop("decode.action.gripper"), "lacks 'decode.action.gripper'"),
        (
            "n1d6_processor/vision_language",
            "images.json",
            empty("geometry"),
            "images.json has no 'geometry'",
        ),
        (
            "n1d6_processor/vision_language",
            "arrays.npz",
            drop("pixel_values_"),
            "arrays.npz has no 'pixel_values_*'",
        ),
        ("n1d6_processor/vision_language", "prompts.json", empty("runs"), "has no 'runs'"),
    ],
)
def test_a_set_without_a_required_array_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, file: str, edit, problem: str
) -> None:
    folder = edited_copy(tmp_path, name, file, edit)
    assert parity.main([str(folder)]) == 1
    line = capsys.readouterr().out.splitlines()[-3]
    assert line.startswith(f"FAIL {folder}: ")
    assert problem in line


def test_outputs_without_inputs_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "backbone"
    shutil.copytree(GOLDEN / "n1d6_backbone", folder)
    (folder / "windows_rope_variant.eagle_config.json").unlink()
    assert parity.main([str(folder)]) == 1
    assert "neither its inputs nor its config" in capsys.readouterr().out
    (folder / "windows_rope_variant.outputs.safetensors").unlink()
    assert parity.main([str(folder)]) == 0
    assert "lacks it: a variant (NAME.eagle_config.json)" in capsys.readouterr().out


def test_a_set_without_a_sharded_checkpoint_reports_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "full"
    shutil.copytree(GOLDEN / "n1d6_full", folder)
    shutil.rmtree(folder / "checkpoint_sharded")
    assert parity.main([str(folder)]) == 0
    assert "12 tensors" in (text := capsys.readouterr().out)
    assert "not compared, as the set lacks it: a checkpoint in shards" in text


def test_an_array_that_is_not_read_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def rename(golden: dict) -> None:
        golden["another.temb"] = golden.pop("dit0.temb")

    folder = edited_copy(tmp_path, HEAD, "outputs.safetensors", rename)
    np.savez(folder / "more.npz", a=np.zeros(1))
    assert parity.main([str(folder)]) == 0
    line, total = (x for x in capsys.readouterr().out.splitlines() if x.startswith("PASS"))
    assert "lacks it: state_dropout_1.safetensors; outputs.safetensors: dit0.temb; not" in line
    assert line.endswith("; not read: more.npz; outputs.safetensors: another.temb")
    assert total.endswith("; not read: 2")


def test_a_set_inside_a_set_is_found_and_a_circular_link_is_not_followed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outer = tmp_path / "sets" / "outer"
    shutil.copytree(GOLDEN / HEAD, outer)
    inner = edited_copy(
        outer, "n1d6_action_head/alternate_n3_8layers", "outputs.safetensors", drop("action_pred")
    )
    (outer / "loop").symlink_to(outer.parent)
    assert parity.main([str(outer.parent)]) == 1
    text = capsys.readouterr().out
    assert text.splitlines()[-1].startswith("FAIL: 1 PASS, 1 FAIL; ")
    assert f"FAIL {inner}: outputs.safetensors lacks 'action_pred'" in text


def test_a_set_without_its_data_fails_although_another_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        shutil.copytree(GOLDEN / SO100, tmp_path / name)
    (tmp_path / "two" / "state_action.npz").unlink()
    assert parity.main([str(tmp_path)]) == 1
    assert f"FAIL {tmp_path / 'two'}: not a golden set" in (text := capsys.readouterr().out)
    assert "nearest to state_action, but without state_action.npz" in text


def test_a_single_foreign_tensor_fails_instead_of_making_the_model_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def add_tensor(weights: dict) -> None:
        weights["future_tokens.weight"] = torch.zeros(2, 2)

    assert (
        parity.main([str(edited_copy(tmp_path, HEAD, "state_dict.safetensors", add_tensor))]) == 1
    )
    line = capsys.readouterr().out.splitlines()[-3]
    assert "FAIL" in line
    assert "future_tokens.weight" in line


def corrupt_compression(path: Path) -> None:
    """Write a zip member whose compressed bytes are not a deflate stream."""
    np.savez_compressed(path, a=np.zeros(10_000))
    content = bytearray(path.read_bytes())
    content[60:100] = bytes([0xFF] * 40)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "file", "damage"),
    [
        (HEAD, "outputs.safetensors", lambda p: p.write_bytes(p.read_bytes()[:-9])),
        (HEAD, "outputs.safetensors", lambda p: p.write_bytes(b"")),
        (SO100, "state_action.npz", lambda p: p.write_bytes(b"")),
        (SO100, "state_action.npz", lambda p: p.write_bytes(p.read_bytes()[:-90])),
        (SO100, "state_action.npz", corrupt_compression),
        ("n1d6_processor/vision_language", "images.json", lambda p: p.write_text('{"geometry":5}')),
        ("n1d6_processor/vision_language", "images.json", lambda p: p.write_text("[]")),
        ("n1d6_processor/vision_language", "prompts.json", lambda p: p.write_text("{")),
    ],
)
def test_an_unreadable_file_fails_in_one_line_and_the_next_set_is_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, file: str, damage
) -> None:
    shutil.copytree(GOLDEN / name, tmp_path / "a")
    shutil.copytree(GOLDEN / "n1d6_processor/widowx_meanstd", tmp_path / "b")
    damage(tmp_path / "a" / file)
    assert parity.main([str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith(f"FAIL {tmp_path / 'a'}: ")]) == 1
    assert lines[-1].startswith("FAIL: 1 PASS, 1 FAIL")


@pytest.mark.parametrize("number", [torch.tensor([999, 0, 0]), torch.tensor([0.5, 0.0, 0.0])])
def test_an_embodiment_without_weights_fails_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: torch.Tensor
) -> None:
    folder = edited_copy(
        tmp_path, HEAD, "inputs.safetensors", lambda inputs: inputs.update(embodiment_id=number)
    )
    assert parity.main([str(folder)]) == 1
    assert capsys.readouterr().out.splitlines()[-3].startswith(f"FAIL {folder}: IndexError: ")


def test_a_folder_that_cannot_be_listed_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(GOLDEN / SO100, tmp_path / "a")
    (tmp_path / "b").mkdir()
    listed = Path.iterdir

    def iterdir(path: Path):
        if path.name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert parity.main([str(tmp_path)]) == 1
    text = capsys.readouterr().out
    assert f"FAIL {tmp_path / 'b'}: " in text
    assert text.splitlines()[-1].startswith("FAIL: 1 PASS, 1 FAIL")


def test_an_empty_name_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parity.main([""])
    assert left.value.code == 2
    assert "the name is empty" in capsys.readouterr().err
