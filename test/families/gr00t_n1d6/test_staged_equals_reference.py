"""The exact fast form gives the plain model's numbers."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_models import noise_for, observations, prefix_for, random_model, vision_config
from support.tiny_checkpoint import tiny_config

from groot_ros.models.gr00t_n1d6 import DiTConfig, Gr00tN1d6, Gr00tN1d6Config, save_model
from groot_ros.runtime.engines.reference import ReferenceEngine
from groot_ros.runtime.engines.torch import TorchEngine
from groot_ros.runtime.gr00t_n1d6 import load_fast, make_fast

TOLERANCE = 1e-5
ONE = [(4, [(2, 3), (2, 3)], 5)]


def both(model: Gr00tN1d6) -> tuple[ReferenceEngine, TorchEngine]:
    return ReferenceEngine(copy.deepcopy(model)), TorchEngine(make_fast(model))


def largest_difference(config: Gr00tN1d6Config, samples=ONE, steps=4, kind="none", states=1):
    plain, fast = both(random_model(config))
    inputs = observations(config, samples, states)
    noise, prefix = noise_for(config, len(samples)), prefix_for(config, kind, len(samples))
    expected = plain.run(inputs, noise, steps, prefix).actions
    assert np.abs(expected).max() > 0.1
    return np.abs(fast.run(inputs, noise, steps, prefix).actions - expected).max()


@pytest.mark.parametrize("kind", ["none", "frozen", "guided", "clean", "random"])
@pytest.mark.parametrize("alternate", [True, False])
def test_it_equals_the_plain_model_under_every_conditioning(alternate: bool, kind: str) -> None:
    config = tiny_config(use_alternate_vl_dit=alternate)
    assert largest_difference(config, kind=kind) <= TOLERANCE


@pytest.mark.parametrize(("rope", "windows"), [(True, False), (False, True), (True, True)])
def test_it_equals_the_plain_model_with_rotary_angles_and_windows(rope, windows) -> None:
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


def test_a_left_padded_batch_equals_the_plain_model_row_by_row() -> None:
    samples = [(2, [(2, 2), (2, 3)], 1), (9, [(2, 2), (3, 3)], 4), (1, [(4, 1), (1, 1)], 1)]
    assert largest_difference(tiny_config(), samples, kind="random") <= TOLERANCE


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
def test_it_equals_the_plain_model_whatever_the_sizes(
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


def test_in_bfloat16_it_is_as_close_to_float32_as_the_plain_model_is() -> None:
    config = tiny_config()
    inputs, noise = observations(config, ONE), noise_for(config)
    exact = ReferenceEngine(random_model(config)).run(inputs, noise, 4).actions
    plain, fast = both(random_model(config).bfloat16())
    errors = [np.abs(e.run(inputs, noise, 4).actions - exact).mean() for e in (plain, fast)]
    assert errors[0] > 1e-4
    assert errors[1] < 1.5 * errors[0]


def test_steps_and_prompt_may_change_between_runs() -> None:
    config = tiny_config()
    plain, fast = both(random_model(config))
    for steps, samples in ((4, ONE), (7, [(1, [(2, 2), (2, 2)], 9)]), (4, ONE), (1, ONE)):
        inputs, noise = observations(config, samples), noise_for(config)
        expected = plain.run(inputs, noise, steps).actions
        np.testing.assert_allclose(fast.run(inputs, noise, steps).actions, expected, atol=TOLERANCE)


def test_preparing_changes_no_result() -> None:
    config = tiny_config()
    inputs, noise = observations(config, ONE), noise_for(config)
    prepared, fresh = (TorchEngine(make_fast(random_model(config))) for _ in range(2))
    prepared.prepare(inputs)
    np.testing.assert_array_equal(
        prepared.run(inputs, noise, 4).actions, fresh.run(inputs, noise, 4).actions
    )


def test_images_that_do_not_fit_the_prompt_are_rejected() -> None:
    config = tiny_config()
    inputs = observations(config, ONE)
    inputs.images.pop()
    with pytest.raises(ValueError, match="the images give 6 tokens but input_ids hold 12"):
        TorchEngine(make_fast(random_model(config))).run(inputs, noise_for(config), 1)


def test_a_checkpoint_gives_what_the_plain_model_of_its_embodiment_gives(tmp_path: Path) -> None:
    config, row = tiny_config(), 7
    model = random_model(config)
    save_model(model, tmp_path)
    inputs, noise = observations(config, ONE), noise_for(config)
    fast = TorchEngine(load_fast(tmp_path, config, embodiment=row, step_counts=(4,)))
    reference = TorchEngine(make_fast(random_model(config), embodiment=row))
    np.testing.assert_array_equal(
        fast.run(inputs, noise, 4).actions, reference.run(inputs, noise, 4).actions
    )


def test_a_closed_engine_holds_nothing_and_says_so() -> None:
    config = tiny_config()
    engine = TorchEngine(make_fast(random_model(config)))
    assert engine.memory_bytes > 0
    assert (engine.name, engine.device) == ("torch", "cpu")
    engine.close()
    assert engine.memory_bytes == 0
    with pytest.raises(RuntimeError, match="closed"):
        engine.run(observations(config, ONE), noise_for(config), 1)
