# SPDX-License-Identifier: Apache-2.0
"""The staged model of a checkpoint: what is read, what stays, what the segments take and give."""

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from support.random_models import model_inputs, random_model, vision_config
from support.tiny_checkpoint import tiny_config
from torch import nn

from groot_ros.checkpoint.safetensors_file import TensorEntry
from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.gr00t_n1d6.config import Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.network import build_model
from groot_ros.families.gr00t_n1d6.program import (
    SEGMENTS,
    load_staged,
    make_staged,
    program_spec,
)
from groot_ros.families.gr00t_n1d6.weights import save_model
from groot_ros.layers.packed_linear import PackedLinear, held_bytes
from groot_ros.runtime.device import dtype_of
from groot_ros.runtime.program_engine import ProgramEngine, SegmentRunner

IMAGE = tiny_config().eagle.image_token_index


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_model(random_model(), tmp_path)
    return tmp_path


@pytest.fixture
def read_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the names of the tensors that are read, from the start of the test."""
    names: list[str] = []
    original = TensorEntry.read

    def read(entry: TensorEntry, row: int | None = None) -> torch.Tensor:
        names.append(entry.name)
        return original(entry, row)

    monkeypatch.setattr(TensorEntry, "read", read)
    return names


def recorded(config: Gr00tN1d6Config) -> dict[str, tuple[tuple, tuple]]:
    """Return inputs and outputs of every segment in one whole run on two views."""
    program = make_staged(random_model(config))
    seen: dict[str, tuple[tuple, tuple]] = {}
    for name, module in program.modules.items():

        def hook(_: nn.Module, given: tuple, out, name: str = name) -> None:
            seen[name] = (given, out if isinstance(out, tuple) else (out,))

        module.register_forward_hook(hook)
    (inputs,) = model_inputs(config, [(1, [(2, 3), (2, 3)], 2)], states=2)
    ProgramEngine("torch", program, SegmentRunner(program)).run(inputs, 2)
    return seen


@pytest.mark.parametrize("alternate", [True, False])
@pytest.mark.parametrize("options", [False, True])
def test_the_segments_take_and_give_what_the_specification_says(
    alternate: bool, options: bool
) -> None:
    config = vision_config(
        tiny_config(use_alternate_vl_dit=alternate), use_rope=options, use_windows_attn=options
    )
    seen = recorded(config)
    free: dict[str, int] = {}
    for segment in program_spec(config).segments:
        for tensors, reference in zip(
            seen[segment.name], (segment.inputs, segment.outputs), strict=True
        ):
            assert len(tensors) == len(reference)
            for tensor, each in zip(tensors, reference, strict=True):
                sizes = [
                    free.setdefault(dim, size) if isinstance(dim, str) else dim
                    for dim, size in zip(each.dims, tensor.shape, strict=True)
                ]
                assert (each.name, list(tensor.shape)) == (each.name, sizes)
                assert tensor.dtype == dtype_of(each, torch.float32), each.name
    assert free["views"] == 2
    assert free["tokens"] == 15


def test_the_stages_are_those_that_are_timed_and_recorded() -> None:
    stages = program_spec(tiny_config()).stages
    assert [(s.name, [g.name for g in s.segments]) for s in stages] == [
        ("backbone", ["vision", "language"]),
        ("head", ["context", "denoise"]),
    ]
    assert [(s.carried, s.results) for s in stages] == [
        ((), ("features",)),
        (("features",), ("next_actions",)),
    ]
    assert not any(stage.per_prompt for stage in stages)


def test_weights_of_the_time_are_read_once_and_again_for_another_number_of_steps(
    checkpoint: Path, read_names: list[str]
) -> None:
    staged = load_staged(checkpoint, tiny_config(), embodiment=3, step_counts=(4,))
    of_time = [name for name in read_names if ".norm1.linear." in name]
    assert len(of_time) == len(set(of_time)) == 2 * 4
    read_names.clear()
    staged.tables.of(4)
    assert not read_names
    staged.tables.of(5)
    assert set(of_time) < set(read_names)
    assert all("action_head" in name for name in read_names)


def test_no_weight_of_the_time_and_no_token_embedding_stays_in_a_segment(checkpoint: Path) -> None:
    config = tiny_config()
    staged = load_staged(checkpoint, config, embodiment=3)
    network = build_model(config, device="meta")
    head, text = network.action_head, network.backbone.model.text
    gone = [p.numel() for b in head.model.transformer_blocks for p in b.norm1.parameters()]
    gone += [p.numel() for p in head.model.timestep_encoder.parameters()]
    gone += [p.numel() for p in head.model.proj_out_1.parameters()]
    gone += [text.embed_tokens.weight.numel()]
    gone += [p.numel() for p in head.action_encoder.parameters()]
    everything = sum(p.numel() for p in network.parameters())
    held = sum(map(held_bytes, staged.modules.values()))
    assert held < 4 * (everything - sum(gone))
    # On the CPU there is one memory.
    assert staged.nbytes == held + staged.tables.nbytes + staged.prompts.nbytes


def test_only_the_weights_of_the_requested_segments_are_read(
    checkpoint: Path, read_names: list[str]
) -> None:
    staged = load_staged(checkpoint, tiny_config(), embodiment=3, segments=("context", "denoise"))
    assert set(staged.modules) == {"context", "denoise"}
    assert not [name for name in read_names if "language_model.model.layers" in name]
    assert not [name for name in read_names if "encoder.layers" in name]
    with pytest.raises(ValueError, match="segment 'vision' has neither an engine file nor weights"):
        SegmentRunner(staged)
    read_names.clear()
    staged = load_staged(checkpoint, tiny_config(), embodiment=3, segments=("vision", "language"))
    assert set(staged.modules) == {"vision", "language"}
    assert not [name for name in read_names if "action_head" in name]


def test_no_weight_but_the_action_encoder_s_is_read_twice(
    checkpoint: Path, read_names: list[str]
) -> None:
    staged = load_staged(checkpoint, tiny_config(), embodiment=3, step_counts=(4,))
    assert set(staged.modules) == set(SEGMENTS)
    twice = {name for name in read_names if read_names.count(name) > 1}
    # Both halves of the action encoder are needed: one with the time, one with the actions.
    assert all("action_encoder.W" in name for name in twice)


def test_packing_changes_no_number_and_keeps_no_second_copy() -> None:
    staged = make_staged(random_model())
    before = {name: held_bytes(module) for name, module in staged.modules.items()}
    patches = torch.randn(1, 4, 588)
    grid = staged.prompts.of_images(np.array([1, IMAGE, 2]), [(28, 28)]).batches[0].grid.inputs
    with torch.no_grad():
        expected = staged.modules["vision"](patches, *grid)
        staged.pack()
        packed = staged.modules["vision"](patches, *grid)
        np.testing.assert_allclose(packed, expected, atol=1e-5)
    for name, module in staged.modules.items():
        assert held_bytes(module) == before[name]
        assert not [part for part in module.modules() if isinstance(part, nn.Linear)]
        assert [part for part in module.modules() if isinstance(part, PackedLinear)]


def test_making_it_frees_what_is_fused() -> None:
    """Weights that the staged model holds in another shape are freed in the network."""
    network = random_model()
    before = sum(p.nbytes for p in network.parameters())
    staged = make_staged(network)
    gc.collect()
    shared = {id(p) for module in staged.modules.values() for p in module.parameters()}
    leftover = sum(p.nbytes for p in network.parameters() if id(p) not in shared)
    assert staged.nbytes + leftover < 1.15 * before


def test_the_published_size_stays_below_its_budget_in_bfloat16() -> None:
    config = Gr00tN1d6Config(max_state_dim=128, max_action_dim=128, max_num_embodiments=1)
    network = build_model(config, device="meta", dtype=torch.bfloat16)
    staged = make_staged(network, step_counts=(4,))
    total = staged.nbytes + staged.prompts.nbytes
    assert 4.9e9 < total < 5.2e9
    assert staged.nbytes < 4.4e9


def test_progress_rises_to_one(checkpoint: Path) -> None:
    seen: list[float] = []
    load_staged(checkpoint, tiny_config(), embodiment=0, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_a_checkpoint_that_does_not_fit_is_named(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="action_head"):
        load_staged(checkpoint, tiny_config(add_pos_embed=False), embodiment=0)
