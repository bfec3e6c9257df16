# SPDX-License-Identifier: Apache-2.0
"""`test/parity.py` on sets of GR00T N1.5: every golden tensor equals the reference's."""

import shutil
from pathlib import Path

import parity
import pytest
import torch
from golden.arrays import GoldenSet
from golden.comparison import TOKENIZER, UnavailableError
from golden.formats import format_of, sets_in
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).resolve().parents[2] / "data" / "golden"
SHARED = TOKENIZER.parent / "golden"
SETS = [f for f in sets_in(GOLDEN) if "n1d5" in str(f.relative_to(GOLDEN))]
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("folder", SETS, ids=lambda folder: str(folder.relative_to(GOLDEN)))
@torch.no_grad()
def test_every_tensor_of_the_set_equals_the_reference(folder: Path) -> None:
    seen = []
    try:
        seen.extend(format_of(folder).comparisons(GoldenSet(folder)))
    except UnavailableError as reason:
        assert len(seen) > 8
        assert not [str(result) for result in seen if not result.passed]
        pytest.skip(f"the rest of {folder.name}: {reason}")
    assert len(seen) >= 20
    assert not [str(result) for result in seen if not result.passed]


def test_the_shared_sets_equal_the_reference() -> None:
    folders = sorted(SHARED.glob("n1d5_*")) if SHARED.is_dir() else []
    if not folders or not TOKENIZER.is_dir():
        pytest.skip(f"needs {SHARED} and {TOKENIZER}")
    assert parity.main([str(folder) for folder in folders]) == 0


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("n1d5_action_head", "future_tokens.weight"),
        ("n1d5_bimanual_head/split_shared_cross", "shared_arm_decoder.layer_norm_left.bias"),
        ("n1d5_backbone/shuffle_mlp2_linear", "eagle_linear.bias"),
    ],
)
def test_one_wrong_weight_fails_the_comparison(tmp_path: Path, name: str, tensor: str) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(GOLDEN / name, folder)
    path = folder / "state_dict.safetensors"
    weights = load_file(path)
    weights[tensor].view(-1)[0] += 1e-3
    save_file(weights, path)
    assert parity.main([str(folder)]) == 1


def test_a_lerobot_checkpoint_without_its_base_is_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "n1d5_lerobot_checkpoint"
    shutil.copytree(GOLDEN / "n1d5_lerobot_checkpoint", folder)
    assert parity.main([str(folder)]) == 1
    assert "needs a set in NVIDIA's layout with these weights" in capsys.readouterr().out
