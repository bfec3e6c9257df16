# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of both layouts load, and broken ones are rejected with one line."""

import json
import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny_vima import objects, prompt, tiny_config, tiny_policy, tiny_tokenizer

from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.families.registry import family_names, find_family
from groot_ros.families.vima.checkpoint import load_network, main, random_network, save_network
from groot_ros.families.vima.config import ObjectConfig, PromptConfig, VimaConfig
from groot_ros.families.vima.policy import load

pytest.importorskip("transformers", reason="transformers is not installed")
# Importing transformers takes seconds.
pytestmark = pytest.mark.slow


def public_config() -> VimaConfig:
    """Return small sizes whose heads are those that a public checkpoint does not state."""
    config = tiny_config()
    vit = replace(config.objects, vit_width=48, vit_heads=ObjectConfig().vit_heads)
    bins = {part: tuple(2 * n for n in sizes) for part, sizes in config.bins.items()}
    return replace(config, objects=vit, bins=bins)


def write_public(path: Path, config: VimaConfig | None = None) -> dict:
    """Write a file in the layout of the public checkpoints, and return its content."""
    network = random_network(config or public_config(), seed=3)
    state = {f"policy.{name}": t.clone() for name, t in network.state_dict().items()}
    extra = {
        "xattn_gpt.position_ids": torch.arange(100),
        "xattn_gpt.xattn_position_ids": torch.arange(40),
        "t5_prompt_encoder.t5.shared.weight": torch.zeros(60, 16),
        "t5_prompt_encoder.t5.encoder.embed_tokens.weight": torch.zeros(60, 16),
    }
    for layer in range(2):
        extra[f"xattn_gpt.h.{layer}.attn.bias"] = torch.ones(1, 1, 100, 100).tril()
        extra[f"xattn_gpt.xattns.{layer}.kv_position_ids"] = torch.arange(40)
    state |= {f"policy.{name}": tensor for name, tensor in extra.items()}
    names = ("embed_dim", "xf_n_layers", "sattn_n_heads", "xattn_n_heads")
    content = {"cfg": {n: getattr(network.config, n) for n in names}, "state_dict": state}
    torch.save(content, path)
    return content


def test_a_directory_gives_the_same_actions_after_saving_and_loading(tmp_path: Path) -> None:
    policy = tiny_policy(seed=1)
    save_network(policy.network, tmp_path / "saved", policy.tokenizer)
    assert sorted(p.name for p in (tmp_path / "saved").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    read = load(tmp_path / "saved")
    assert read.network.config == policy.network.config
    ours, theirs = read.session(prompt()), policy.session(prompt())
    for seed in range(3):
        seen = objects(1, 2, seed=seed)
        assert ours.step(seen, "suction") == theirs.step(seen, "suction")


def test_a_public_checkpoint_loads_with_the_sizes_of_its_tensors(tmp_path: Path) -> None:
    write_public(tmp_path / "tiny.ckpt")
    tiny_tokenizer().write(tmp_path / "tokenizer.json")
    read = load(tmp_path / "tiny.ckpt", tokenizer=tmp_path)
    assert read.network.config == public_config()
    expected = random_network(public_config(), seed=3)
    for name, parameter in expected.named_parameters():
        if ".shared." not in name:
            assert torch.equal(read.network.get_parameter(name), parameter), name
    assert read.session(prompt()).step(objects(1), "suction").bins.keys() == {
        "pose0_position",
        "pose0_rotation",
        "pose1_position",
        "pose1_rotation",
    }


def test_a_public_checkpoint_without_a_tokenizer_loads_and_rejects_text(tmp_path: Path) -> None:
    write_public(tmp_path / "tiny.ckpt")
    with pytest.raises(ValueError, match=r"no tokenizer: give its tokenizer.json to load"):
        load(tmp_path / "tiny.ckpt").session(prompt())


def test_the_converter_writes_a_directory_with_the_same_actions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_public(tmp_path / "tiny.ckpt")
    tiny_tokenizer().write(tmp_path / "words.json")
    given = [str(tmp_path / "tiny.ckpt"), str(tmp_path / "out")]
    assert main([*given, "--tokenizer", str(tmp_path / "words.json")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}: written\n"
    assert not any("position_ids" in n for n in load_file(tmp_path / "out" / "model.safetensors"))
    before = load(tmp_path / "tiny.ckpt", tokenizer=tmp_path / "words.json").session(prompt())
    after = load(tmp_path / "out").session(prompt())
    assert before.step(objects(1, 2), 1) == after.step(objects(1, 2), 1)


def test_the_converter_reports_a_problem_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none.ckpt"), str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == (
        f"checkpoint {tmp_path / 'none.ckpt'}: no such file or directory\n"
    )
    assert not (tmp_path / "out").exists()


def without(key: str) -> Callable[[dict], None]:
    return lambda content: content.pop(key)


def changed(name: str, value: object) -> Callable[[dict], None]:
    """Return an edit that replaces or removes (None) a tensor."""

    def edit(content: dict) -> None:
        if value is None:
            del content["state_dict"][name]
        else:
            content["state_dict"][name] = value

    return edit


FUSION = "policy.obs_fusion_layer.bias"


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (without("cfg"), "has no 'cfg'"),
        (without("state_dict"), "has no 'state_dict'"),
        (lambda c: c["cfg"].pop("sattn_n_heads"), "'sattn_n_heads' is missing"),
        (lambda c: c["cfg"].update(sattn_n_heads=7), "'embed_dim' is 24, which must be a multiple"),
        (lambda c: c["cfg"].update(embed_dim=48), r"'.*' has shape \[.*\], the sizes require"),
        (changed(FUSION, None), "1 missing: obs_fusion_layer.bias"),
        (changed("policy.more", torch.zeros(1)), "1 unexpected: more"),
        (changed(FUSION, torch.zeros(23)), r"'obs_fusion_layer.bias' has shape \[23\], .* \[24\]"),
        (changed(FUSION, torch.full((24,), torch.nan)), "bias' holds values that are not finite"),
        (changed(FUSION, torch.zeros(24, dtype=torch.int64)), "bias' is int64; weights must be"),
    ],
)
def test_a_public_checkpoint_that_does_not_fit_is_rejected(
    tmp_path: Path, edit: Callable[[dict], None], problem: str
) -> None:
    path = tmp_path / "tiny.ckpt"
    content = write_public(path)
    edit(content)
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=problem) as caught:
        load_network(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


class Code:
    """Object whose unpickling would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.write_text, (self.path, "run"))


def test_code_in_a_checkpoint_is_rejected_and_not_executed(tmp_path: Path) -> None:
    path = tmp_path / "tiny.ckpt"
    content = write_public(path)
    torch.save({**content, "hook": Code(tmp_path / "written")}, path)
    with pytest.raises(CheckpointError, match="holds more than tensors and plain values") as caught:
        load_network(path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize("size", [0, 100, 20_000])
def test_a_truncated_checkpoint_is_rejected(tmp_path: Path, size: int) -> None:
    path = tmp_path / "tiny.ckpt"
    write_public(path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="is truncated or not a PyTorch checkpoint") as caught:
        load_network(path)
    assert "\n" not in str(caught.value)


def test_a_plain_pickle_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "tiny.ckpt"
    path.write_bytes(pickle.dumps({"cfg": {}, "state_dict": {}}))
    with pytest.raises(CheckpointError, match="is truncated or not a PyTorch checkpoint"):
        load_network(path)


def test_a_directory_of_another_model_is_rejected(tmp_path: Path) -> None:
    save_network(tiny_policy().network, tmp_path)
    stated = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**stated, "model_type": "bert"}))
    with pytest.raises(CheckpointError, match=r"'model_type' is 'bert', only 'vima' is supported"):
        load_network(tmp_path)


def test_a_directory_whose_tensors_do_not_fit_is_rejected(tmp_path: Path) -> None:
    save_network(tiny_policy().network, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["xattn_gpt.positions_embed.weight"] = torch.zeros(99, 24)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(
        CheckpointError, match=r"positions_embed.weight' has shape \[99, 24\], .* \[100, 24\]"
    ):
        load_network(tmp_path)


def test_a_tokenizer_with_more_words_than_the_table_is_rejected(tmp_path: Path) -> None:
    save_network(tiny_policy(word_vocab=5).network, tmp_path, tiny_tokenizer())
    with pytest.raises(CheckpointError, match=r"has 8 token ids, but the word table of .* has 5"):
        load(tmp_path)


def test_without_transformers_the_error_names_the_extra_and_the_registry_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_network(tiny_policy().network, tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"needs the package transformers .*'groot_ros\[vima\]'"):
        load(tmp_path)
    assert {"gr00t_n1d6", "vima"} <= set(family_names())
    assert find_family(tmp_path).name == "vima"


def test_a_configuration_is_read_back_as_it_was_written() -> None:
    for config in (tiny_config(), public_config(), tiny_config(use_geglu=False)):
        text = json.dumps(config.to_json())
        assert VimaConfig.parse(Fields.parse(text, "config.json")) == config


@pytest.mark.parametrize(
    ("section", "key", "value", "problem"),
    [
        (None, "embed_dim", 0, "'embed_dim' must be a whole number >= 1, not 0"),
        (None, "views", ["top", "top"], "'views' contains top more than once"),
        (None, "end_effectors", [2], "'end_effectors' must be two whole numbers"),
        ("vit", "vit_heads", 5, "vit: 'vit_width' is 12, which must be a multiple of 'vit_heads'"),
        ("vit", "vit_patch_size", 5, "vit: 'vit_resolution' is 32, which must be a multiple"),
        ("t5", "feed_forward_proj", "swish", "t5: 'feed_forward_proj' must be one of relu"),
        ("bins", "pose0_position", [50], "bins: 'pose0_position' must be 2 numbers of bins"),
        ("bins", "pose2_position", [5, 5], "bins: 'pose2_position' is not a key here"),
    ],
)
def test_a_configuration_with_a_wrong_value_is_rejected_with_its_key(
    section: str | None, key: str, value: object, problem: str
) -> None:
    content = tiny_config().to_json()
    (content if section is None else content[section])[key] = value
    with pytest.raises(CheckpointError) as caught:
        VimaConfig.parse(Fields(content, "config.json"))
    assert problem in str(caught.value)
    assert str(caught.value).startswith("config.json: ")


def test_t5_sizes_default_to_t5_base() -> None:
    assert PromptConfig.parse(Fields({}, "config.json")) == PromptConfig()
    assert vars(PromptConfig())["d_model"] == 768
