"""Regressions pinned: every tensor of the reference's golden runs, from pixels to robot actions."""

import json
import shutil
from pathlib import Path

import parity
import pytest
import torch
from golden.comparison import TOKENIZER, UnavailableError
from golden.formats import format_of, sets_in
from safetensors.torch import load_file, save_file

from groot_ros.processing.prompt import build_prompt, formalise
from groot_ros.processing.tokenizer import has_tokenizer

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden"
SETS = [folder for folder in sets_in(GOLDEN) if folder.name != "n1d6_policy"]
EMBEDDINGS = "backbone.model.language_model.model.embed_tokens.weight"


def failures(comparisons) -> list[str]:
    return [str(result) for result in comparisons if not result.passed]


@pytest.mark.parametrize("folder", SETS, ids=lambda folder: str(folder.relative_to(GOLDEN)))
@torch.no_grad()
def test_every_tensor_of_the_set_equals_the_reference(folder: Path) -> None:
    seen = []
    try:
        seen.extend(format_of(folder).comparisons(folder))
    except UnavailableError as reason:
        assert len(seen) > 20
        assert not failures(seen)
        pytest.skip(f"the rest of {folder.name}: {reason}")
    assert len(seen) >= 20
    assert not failures(seen)


class RecordedTokenizer:
    """Knows the golden prompts only, so that no vocabulary is needed."""

    pad_id, image_id, size = 151643, 151669, 151680

    def __init__(self, folder: Path) -> None:
        golden = load_file(folder / "outputs.safetensors")
        texts = json.loads((folder / "inputs.json").read_text())["texts"]
        masked = zip(golden["input_ids"], golden["attention_mask"], strict=True)
        self.known = {
            build_prompt(formalise(text), [108, 108]): ids[mask.bool()].tolist()
            for text, (ids, mask) in zip(texts, masked, strict=True)
        }

    def encode(self, text: str) -> list[int]:
        return self.known[text]


@pytest.fixture
def policy_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The golden policy with its embedding rows put back, and its tokens known by heart."""
    folder = tmp_path / "n1d6_policy"
    shutil.copytree(GOLDEN / "n1d6_policy", folder)
    trimmed = folder / "checkpoint" / "trimmed.safetensors"
    weights = load_file(trimmed)
    trimmed.unlink()
    rows, ids = weights.pop("embedding_rows"), weights.pop("embedding_ids")
    weights[EMBEDDINGS] = torch.zeros(151680, rows.shape[1])
    weights[EMBEDDINGS][ids] = rows
    save_file(weights, folder / "checkpoint" / "model.safetensors")
    for name in ("vocab.json", "merges.txt"):
        (folder / "checkpoint" / name).touch()
    tokenizer = RecordedTokenizer(folder)
    monkeypatch.setattr(
        "groot_ros.runtime.checkpoint_parts.TextTokenizer.load", lambda directory: tokenizer
    )
    return folder


@torch.no_grad()
def test_images_and_text_become_the_reference_s_robot_actions(policy_set: Path) -> None:
    seen = list(format_of(policy_set).comparisons(policy_set))
    assert [r.name for r in seen if r.name.startswith("action.")] == [
        "action.single_arm",
        "action.gripper",
    ]
    assert not failures(seen)


def test_images_and_text_with_the_real_tokenizer_become_the_reference_s_robot_actions() -> None:
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
    ("tensor", "model"),
    [("future_tokens.weight", "GR00T N1.5"), ("xattn_gpt.h.0.weight", "VIMA")],
)
def test_a_set_of_another_model_is_named_and_never_counts_as_passed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tensor: str, model: str
) -> None:
    folder = tmp_path / "sets" / "other"
    shutil.copytree(GOLDEN / "n1d6_action_head" / "plain_dit", folder)
    save_file({tensor: torch.zeros(1)}, folder / "state_dict.safetensors")
    assert parity.main([str(folder)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0] == (
        f"UNKNOWN {folder}: a set of {model}, a model that this version does not have"
    )
    assert told[-1] == "FAIL: 1 UNKNOWN"
    shutil.copytree(GOLDEN / "n1d6_action_head" / "plain_dit", tmp_path / "sets" / "ours")
    assert parity.main([str(tmp_path / "sets")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "PASS: 1 PASS, 1 UNKNOWN"


def test_a_set_of_no_recognised_model_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "state_dict.safetensors")
    assert parity.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "FAIL: 1 FAIL"
