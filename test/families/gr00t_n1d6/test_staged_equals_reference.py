# SPDX-License-Identifier: Apache-2.0
"""The staged model computes the reference model's numbers."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_models import (
    model_inputs,
    noise_for,
    observations,
    prefix_for,
    random_model,
    vision_config,
)
from support.tiny_checkpoint import tiny_config

from groot_ros.core.program import ModelInputs
from groot_ros.families.gr00t.checkpoint import ReferenceModel
from groot_ros.families.gr00t.network import TensorBatch
from groot_ros.families.gr00t_n1d6.config import Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.network import Gr00tN1d6
from groot_ros.families.gr00t_n1d6.program import StagedModel, load_staged, make_staged
from groot_ros.families.gr00t_n1d6.weights import save_model
from groot_ros.layers.dit import DiTConfig
from groot_ros.layers.flow_matching import Conditioning
from groot_ros.runtime.engine import Engine
from groot_ros.runtime.engines.reference import ReferenceEngine
from groot_ros.runtime.program_engine import ProgramEngine, SegmentRunner

TOLERANCE = 1e-5
ONE = [(4, [(2, 3), (2, 3)], 5)]


def engine_of(program: StagedModel) -> ProgramEngine:
    """Return engine "torch", which packs the weights on a CPU."""
    program.pack()
    return ProgramEngine("torch", program, SegmentRunner(program))


def both(model: Gr00tN1d6) -> tuple[ReferenceEngine, ProgramEngine]:
    return ReferenceEngine(ReferenceModel(copy.deepcopy(model))), engine_of(make_staged(model))


def actions(engine: Engine, inputs: ModelInputs, steps: int = 4) -> np.ndarray:
    return engine.run(inputs, steps).outputs["next_actions"]


def largest_difference(
    config: Gr00tN1d6Config, samples=ONE, steps: int = 4, kind: str = "none", states: int = 1
) -> float:
    """Return the largest error over samples that both engines run one by one."""
    reference, staged = both(random_model(config))
    errors = []
    for inputs in model_inputs(config, samples, states, kind):
        expected = actions(reference, inputs, steps)
        assert np.abs(expected).max() > 0.1
        errors.append(np.abs(actions(staged, inputs, steps) - expected).max())
    return max(errors)


@pytest.mark.parametrize("kind", ["none", "frozen", "guided", "clean", "random"])
@pytest.mark.parametrize("alternate", [True, False])
def test_it_equals_the_reference_under_every_conditioning(alternate: bool, kind: str) -> None:
    config = tiny_config(use_alternate_vl_dit=alternate)
    assert largest_difference(config, kind=kind) <= TOLERANCE


@pytest.mark.parametrize(("rope", "windows"), [(True, False), (False, True), (True, True)])
def test_it_equals_the_reference_with_rotary_angles_and_windows(rope, windows) -> None:
    config = vision_config(
        tiny_config(),
        use_rope=rope,
        use_windows_attn=windows,
        window_size=3,
        full_attention_indexes=(1,),
    )
    samples = [(2, [(3, 2), (2, 4), (3, 2)], 3)]
    assert largest_difference(config, samples) <= TOLERANCE


def test_views_of_several_sizes_keep_their_order() -> None:
    samples = [(3, [(2, 2), (3, 2), (2, 2), (3, 2)], 2)]
    assert largest_difference(tiny_config(), samples) <= TOLERANCE


UNEQUAL = [(2, [(2, 2), (2, 3)], 1), (9, [(2, 2), (3, 3)], 4), (1, [(4, 1), (1, 1)], 1)]


@torch.no_grad()
def test_row_by_row_it_equals_the_network_on_a_left_padded_batch() -> None:
    config = tiny_config()
    model = random_model(config)
    batch = TensorBatch.of(observations(config, UNEQUAL))
    prefix = prefix_for(config, "random", len(UNEQUAL))
    expected = model(
        batch.input_ids,
        batch.attention_mask,
        batch.images,
        batch.state,
        batch.embodiment,
        torch.from_numpy(noise_for(config, len(UNEQUAL))),
        4,
        Conditioning(**{name: torch.from_numpy(array) for name, array in prefix.items()}),
    )
    assert expected.abs().max() > 0.1
    staged = engine_of(make_staged(model))
    for row, inputs in enumerate(model_inputs(config, UNEQUAL, kind="random")):
        np.testing.assert_allclose(actions(staged, inputs)[0], expected[row], atol=TOLERANCE)


def test_padding_of_one_observation_changes_nothing() -> None:
    """`model_inputs` gives every row with the padding of its batch."""
    assert largest_difference(tiny_config(), UNEQUAL, kind="random") <= TOLERANCE


def test_a_prompt_without_images_works() -> None:
    assert largest_difference(tiny_config(use_alternate_vl_dit=False), [(7, [], 2)]) <= TOLERANCE


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    steps=st.integers(1, 10),
    horizon=st.integers(1, 12),
    states=st.integers(1, 3),
    layers=st.integers(1, 7),
    every=st.integers(1, 3),
    alternate=st.booleans(),
    switches=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()),
    buckets=st.sampled_from([7, 500, 1000]),
)
def test_it_equals_the_reference_whatever_the_sizes(
    steps, horizon, states, layers, every, alternate, switches, buckets
) -> None:
    positions, vlln, bias, final = switches
    dit = DiTConfig(
        num_layers=layers,
        num_attention_heads=2,
        attention_head_dim=8,
        output_dim=16,
        attention_bias=bias,
        final_dropout=final,
        norm_eps=1e-3,
    )
    config = tiny_config(
        action_horizon=horizon,
        dit=dit,
        use_alternate_vl_dit=alternate,
        attend_text_every_n_blocks=every,
        add_pos_embed=positions,
        use_vlln=vlln,
        num_timestep_buckets=buckets,
    )
    assert largest_difference(config, steps=steps, kind="random", states=states) <= TOLERANCE


def test_grouped_heads_and_biases_of_the_language_model_are_followed() -> None:
    config = tiny_config()
    text = replace(
        config.eagle.text,
        num_attention_heads=6,
        num_key_value_heads=3,
        attention_bias=True,
        rope_theta=100.0,
    )
    config = replace(config, eagle=replace(config.eagle, text=text))
    assert largest_difference(config) <= TOLERANCE


def test_in_bfloat16_it_is_as_close_to_float32_as_the_reference_is() -> None:
    config = tiny_config()
    (inputs,) = model_inputs(config, ONE)
    exact = actions(ReferenceEngine(ReferenceModel(random_model(config))), inputs)
    engines = both(random_model(config).bfloat16())
    errors = [np.abs(actions(engine, inputs) - exact).mean() for engine in engines]
    assert errors[0] > 1e-4
    assert errors[1] < 1.5 * errors[0]


def test_steps_and_prompt_may_change_between_runs() -> None:
    config = tiny_config()
    reference, staged = both(random_model(config))
    for steps, samples in ((4, ONE), (7, [(1, [(2, 2), (2, 2)], 9)]), (4, ONE), (1, ONE)):
        (inputs,) = model_inputs(config, samples)
        expected = actions(reference, inputs, steps)
        np.testing.assert_allclose(actions(staged, inputs, steps), expected, atol=TOLERANCE)


def test_preparing_changes_no_result() -> None:
    config = tiny_config()
    (inputs,) = model_inputs(config, ONE)
    prepared, fresh = (engine_of(make_staged(random_model(config))) for _ in range(2))
    prepared.prepare(inputs, 4)
    np.testing.assert_array_equal(actions(prepared, inputs), actions(fresh, inputs))


def test_images_that_do_not_fit_the_prompt_are_rejected() -> None:
    config = tiny_config()
    (inputs,) = model_inputs(config, ONE)
    fewer = {name: array for name, array in inputs.items() if name != "image.1"}
    with pytest.raises(ValueError, match="the images give 6 tokens but input_ids hold 12"):
        engine_of(make_staged(random_model(config))).run(fewer, 1)


def test_a_checkpoint_gives_what_the_network_of_its_embodiment_gives(tmp_path: Path) -> None:
    config, row = tiny_config(), 7
    save_model(random_model(config), tmp_path)
    (inputs,) = model_inputs(config, ONE)
    loaded = engine_of(load_staged(tmp_path, config, embodiment=row, step_counts=(4,)))
    expected = engine_of(make_staged(random_model(config), embodiment=row))
    np.testing.assert_array_equal(actions(loaded, inputs), actions(expected, inputs))


def test_a_closed_engine_holds_nothing_and_says_so() -> None:
    config = tiny_config()
    engine = engine_of(make_staged(random_model(config)))
    assert engine.memory_bytes > 0
    assert (engine.name, engine.device) == ("torch", "cpu")
    engine.close()
    assert engine.memory_bytes == 0
    (inputs,) = model_inputs(config, ONE)
    with pytest.raises(RuntimeError, match="closed"):
        engine.run(inputs, 1)
