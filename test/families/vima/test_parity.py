# SPDX-License-Identifier: Apache-2.0
"""`test/parity.py` on the golden sets of VIMA, whole and damaged."""

import importlib.util
import json
import shutil
from pathlib import Path

import parity
import pytest
import torch
from golden.arrays import GoldenSet
from golden.formats import format_of
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).resolve().parents[2] / "data" / "golden" / "vima"
SETS = ("reference", "same_width", "no_gate")
STATED = ("embed_dim", "xf_n_layers", "sattn_n_heads", "xattn_n_heads")
# Importing transformers takes seconds.
pytestmark = pytest.mark.slow
needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="transformers is not installed"
)


@needs_transformers
@pytest.mark.parametrize(
    ("name", "count"), [("reference", 87), ("same_width", 35), ("no_gate", 35)]
)
@torch.no_grad()
def test_every_tensor_of_the_set_equals_the_reference(name: str, count: int) -> None:
    source = GoldenSet(GOLDEN / name)
    found = list(format_of(GOLDEN / name).comparisons(source))
    assert len(found) == count
    assert [str(result) for result in found if not result.passed] == []
    assert max(result.difference for result in found) <= 1e-5
    assert source.unread == {}


@needs_transformers
@pytest.mark.parametrize("name", SETS)
def test_sizes_that_a_public_checkpoint_does_not_state_come_from_the_weights(
    name: str, tmp_path: Path
) -> None:
    folder = tmp_path / name
    shutil.copytree(GOLDEN / name, folder)
    content = json.loads((folder / "config.json").read_text())
    whole = content["config"]
    heads = {"vit_heads": whole["vit"]["vit_heads"]}
    content["config"] = {**{key: whole[key] for key in STATED}, "vit": heads}
    (folder / "config.json").write_text(json.dumps(content))
    assert parity.main([str(folder)]) == 0


def damaged(tmp_path: Path, file: str, name: str) -> Path:
    """Copy a set, and add 1 to the first value of one tensor."""
    folder = tmp_path / "damaged"
    shutil.copytree(GOLDEN / "reference", folder)
    tensors = load_file(folder / file)
    tensors[name].view(-1)[0] += 1
    save_file(tensors, folder / file)
    return folder


@needs_transformers
@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("state_dict.safetensors", "xattn_gpt.xattns.1.query.weight"),
        ("state_dict.safetensors", "obj_encoder.bbox_mlp.front.0.weight"),
        ("state_dict.safetensors", "xattn_gpt.xattn_positions_embed.weight"),
        ("outputs.safetensors", "mode.pose1_rotation"),
        ("inputs.safetensors", "obs.objects.bbox.top"),
    ],
)
def test_one_wrong_value_fails(tmp_path: Path, file: str, name: str) -> None:
    assert parity.main([str(damaged(tmp_path, file, name))]) == 1


@needs_transformers
def test_a_set_without_its_bins_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = damaged(tmp_path, "outputs.safetensors", "mode.pose0_position")
    tensors = load_file(folder / "outputs.safetensors")
    del tensors["mode.pose0_position"]
    save_file(tensors, folder / "outputs.safetensors")
    assert parity.main([str(folder)]) == 1
    assert "outputs.safetensors lacks 'mode.pose0_position'" in capsys.readouterr().out


def test_without_transformers_the_rest_is_skipped_and_only_crops_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert parity.main([str(GOLDEN / "reference")]) == 0
    out = capsys.readouterr().out
    assert "SKIP  the rest: transformers is not installed: pip install 'groot_ros[vima]'" in out
    assert "reference: 36 tensors, largest difference 0.00e+00" in out
    assert parity.main([str(GOLDEN / "no_gate")]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("FAIL: 1 SKIP")
