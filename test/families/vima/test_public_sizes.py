# SPDX-License-Identifier: Apache-2.0
"""The seven public sizes, by configuration: 2M to 200M parameters of the controller."""

import math

import pytest
import torch
from support.tiny_vima import objects

from groot_ros.families.vima.checkpoint import empty_network, load_network
from groot_ros.families.vima.config import PUBLIC
from groot_ros.families.vima.policy import VimaPolicy
from groot_ros.families.vima.prompt import PromptTokens

pytest.importorskip("transformers", reason="transformers is not installed")
# Importing transformers takes seconds.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_size_has_the_parameters_of_its_name_and_the_parts_of_all_sizes(name: str) -> None:
    network = empty_network(PUBLIC[name])

    def millions(module: torch.nn.Module) -> float:
        return sum(parameter.numel() for parameter in module.parameters()) / 1e6

    assert millions(network.xattn_gpt) == pytest.approx(float(name.removesuffix("M")), rel=0.17)
    assert millions(network.obj_encoder.cropped_img_encoder) == pytest.approx(29.6, abs=0.1)
    assert millions(network.t5_prompt_encoder) == pytest.approx(84.96, abs=0.01)
    assert millions(network.prompt_embedding) == pytest.approx(24.67, abs=0.01)
    widths = [tuple(p.shape) for p in network.t5_prompt_encoder_post_layer.parameters()]
    assert widths == ([] if name == "200M" else [(PUBLIC[name].embed_dim, 768)])


def test_the_smallest_public_size_loads_from_a_file_and_steps(tmp_path) -> None:
    network = empty_network(PUBLIC["2M"]).to_empty(device="cpu").requires_grad_(False).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.uniform_(-0.05, 0.05, generator=generator)
    cfg = {"embed_dim": 256, "xf_n_layers": 1, "sattn_n_heads": 8, "xattn_n_heads": 8}
    state = {f"policy.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"cfg": cfg, "state_dict": state}, tmp_path / "2M.ckpt")
    read = load_network(tmp_path / "2M.ckpt")
    assert read.config == PUBLIC["2M"]
    tokens = PromptTokens((0, 0), torch.tensor([32127, 1]).numpy(), None)
    ours, theirs = VimaPolicy(read).session(tokens), VimaPolicy(network).session(tokens)
    for seed in range(2):
        action = ours.step(objects(1, 2, 3, seed=seed), "suction")
        assert action == theirs.step(objects(1, 2, 3, seed=seed), "suction")
        assert 0.25 <= action.pick.x <= 0.75
        assert -0.5 <= action.place.y <= 0.5
        assert math.hypot(*action.pick.rotation) == pytest.approx(1.0)
