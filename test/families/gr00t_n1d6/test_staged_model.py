"""The fast form from a checkpoint: what is read, what stays, and what the stages take and give."""

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from support.random_models import random_model, vision_config
from support.tiny_checkpoint import tiny_config
from torch import nn

from groot_ros.checkpoint.safetensors_file import TensorEntry
from groot_ros.layers.packed_linear import PackedLinear, held_bytes
from groot_ros.models.gr00t_n1d6 import Conditioning, Gr00tN1d6Config, build_model, save_model
from groot_ros.models.gr00t_n1d6 import checkpoint as checkpoint_module
from groot_ros.runtime.contract import stage_specs
from groot_ros.runtime.gr00t_n1d6 import load_fast, make_fast, run_backbone, run_head
from groot_ros.runtime.names import STAGES

IMAGE = tiny_config().eagle.image_token_index


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_model(random_model(), tmp_path)
    return tmp_path


@pytest.fixture
def read_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the tensors that are read from now on."""
    names: list[str] = []
    original = TensorEntry.read

    def read(entry: TensorEntry, row: int | None = None) -> torch.Tensor:
        names.append(entry.name)
        return original(entry, row)

    monkeypatch.setattr(TensorEntry, "read", read)
    return names


def recorded(config: Gr00tN1d6Config) -> dict[str, tuple[tuple, tuple]]:
    """Inputs and outputs of every stage in one whole run on two views."""
    fast = make_fast(random_model(config))
    seen: dict[str, tuple[tuple, tuple]] = {}
    for name, module in fast.modules.items():

        def hook(_: nn.Module, given: tuple, out, name: str = name) -> None:
            seen[name] = (given, out if isinstance(out, tuple) else (out,))

        module.register_forward_hook(hook)
    image = config.eagle.image_token_index
    ids = np.array([1, *[image] * 12, 2, 3])
    layout = fast.host.layouts.of(ids, [(56, 84)] * 2)
    features = run_backbone(fast.stages, layout, [torch.randn(2, 24, 588)])
    shape = (1, config.action_horizon, config.max_action_dim)
    run_head(
        fast.stages,
        layout,
        fast.host.tables.of(2),
        features,
        torch.randn(1, 2, config.max_state_dim),
        torch.randn(shape),
        Conditioning.none(*shape, torch.device("cpu")),
    )
    return seen


@pytest.mark.parametrize("alternate", [True, False])
@pytest.mark.parametrize("options", [False, True])
def test_the_stages_take_and_give_what_the_contract_says(alternate: bool, options: bool) -> None:
    config = vision_config(
        tiny_config(use_alternate_vl_dit=alternate), use_rope=options, use_windows_attn=options
    )
    seen = recorded(config)
    free: dict[str, int] = {}
    kinds = {
        "weights": torch.float32,
        "float32": torch.float32,
        "int64": torch.int64,
        "bool": torch.bool,
    }
    for name, spec in stage_specs(config).items():
        for tensors, wanted in zip(seen[name], (spec.inputs, spec.outputs), strict=True):
            assert len(tensors) == len(wanted)
            for tensor, each in zip(tensors, wanted, strict=True):
                sizes = [free.setdefault(d, n) if isinstance(d, str) else d
                         for d, n in zip(each.dims, tensor.shape, strict=True)]  # fmt: skip
                assert (each.name, list(tensor.shape)) == (each.name, sizes)
                assert tensor.dtype == kinds[each.kind], each.name
    assert free["views"] == 2
    assert free["tokens"] == 15


def test_weights_of_the_time_are_read_once_and_again_for_another_number_of_steps(
    checkpoint: Path, read_names: list[str]
) -> None:
    fast = load_fast(checkpoint, tiny_config(), embodiment=3, step_counts=(4,))
    of_time = [name for name in read_names if ".norm1.linear." in name]
    assert len(of_time) == len(set(of_time)) == 2 * 4
    read_names.clear()
    fast.host.tables.of(4)
    assert not read_names
    fast.host.tables.of(5)
    assert set(of_time) < set(read_names)
    assert all("action_head" in name for name in read_names)


def test_no_weight_of_the_time_and_no_token_embedding_stays_in_a_stage(checkpoint: Path) -> None:
    config = tiny_config()
    fast = load_fast(checkpoint, config, embodiment=3)
    plain = build_model(config, device="meta")
    head, text = plain.action_head, plain.backbone.model.text
    gone = [p.numel() for b in head.model.transformer_blocks for p in b.norm1.parameters()]
    gone += [p.numel() for p in head.model.timestep_encoder.parameters()]
    gone += [p.numel() for p in head.model.proj_out_1.parameters()]
    gone += [text.embed_tokens.weight.numel()]
    gone += [p.numel() for p in head.action_encoder.parameters()]
    everything = sum(p.numel() for p in plain.parameters())
    staged = sum(map(held_bytes, fast.modules.values()))
    assert staged < 4 * (everything - sum(gone))
    # On the CPU there is one memory.
    assert fast.nbytes == staged + fast.host.tables.nbytes + fast.host.layouts.nbytes


def test_only_the_weights_of_the_wanted_stages_are_read(
    checkpoint: Path, read_names: list[str]
) -> None:
    fast = load_fast(checkpoint, tiny_config(), embodiment=3, stages=("context", "denoise"))
    assert set(fast.modules) == {"context", "denoise"}
    assert not [name for name in read_names if "language_model.model.layers" in name]
    assert not [name for name in read_names if "encoder.layers" in name]
    with pytest.raises(ValueError, match="without stage 'vision'"):
        _ = fast.stages
    read_names.clear()
    fast = load_fast(checkpoint, tiny_config(), embodiment=3, stages=("vision", "language"))
    assert set(fast.modules) == {"vision", "language"}
    assert not [name for name in read_names if "action_head" in name]


def test_the_weights_are_read_one_stage_at_a_time_and_none_twice(
    checkpoint: Path, read_names: list[str]
) -> None:
    fast = load_fast(checkpoint, tiny_config(), embodiment=3, step_counts=(4,))
    assert set(fast.modules) == set(STAGES)
    twice = {name for name in read_names if read_names.count(name) > 1}
    # Both halves of the action encoder are needed: one with the time, one with the actions.
    assert all("action_encoder.W" in name for name in twice)


def test_packing_changes_no_number_and_keeps_no_second_copy() -> None:
    fast = make_fast(random_model())
    before = {name: held_bytes(module) for name, module in fast.modules.items()}
    patches = torch.randn(1, 4, 588)
    grid = fast.host.layouts.of(np.array([1, IMAGE, 2]), [(28, 28)]).batches[0].grid.inputs
    with torch.no_grad():
        expected = fast.vision(patches, *grid)
        fast.pack()
        np.testing.assert_allclose(fast.vision(patches, *grid), expected, atol=1e-5)
    for name, module in fast.modules.items():
        assert held_bytes(module) == before[name]
        assert not [part for part in module.modules() if isinstance(part, nn.Linear)]
        assert [part for part in module.modules() if isinstance(part, PackedLinear)]


def test_making_it_frees_what_is_fused() -> None:
    """Of the plain model nothing is left that the fast form holds in another shape."""
    plain = random_model()
    before = sum(p.nbytes for p in plain.parameters())
    fast = make_fast(plain)
    gc.collect()
    shared = {id(p) for module in fast.modules.values() for p in module.parameters()}
    leftover = sum(p.nbytes for p in plain.parameters() if id(p) not in shared)
    assert fast.nbytes + leftover < 1.15 * before


def test_the_published_size_stays_below_its_budget_in_bfloat16() -> None:
    config = Gr00tN1d6Config(max_state_dim=128, max_action_dim=128, max_num_embodiments=1)
    plain = build_model(config, device="meta", dtype=torch.bfloat16)
    fast = make_fast(plain, step_counts=(4,))
    total = fast.nbytes + fast.host.layouts.nbytes
    assert 4.9e9 < total < 5.2e9
    assert fast.nbytes < 4.4e9


def test_progress_rises_to_one(checkpoint: Path) -> None:
    seen: list[float] = []
    load_fast(checkpoint, tiny_config(), embodiment=0, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_a_checkpoint_that_does_not_fit_is_named(checkpoint: Path) -> None:
    with pytest.raises(checkpoint_module.CheckpointError, match="action_head"):
        load_fast(checkpoint, tiny_config(add_pos_embed=False), embodiment=0)
