# SPDX-License-Identifier: Apache-2.0
"""The state and action codec: encoding, decoding, prefixes and rejected values."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.tiny_checkpoint import HORIZON, TAG, tiny_processor_config, tiny_statistics

from groot_ros.core.config_reader import CheckpointError
from groot_ros.processing.modality import (
    ActionConfig,
    ActionFormat,
    ActionType,
    CodecConfig,
    Embodiment,
    ModalityConfig,
    Representation,
)
from groot_ros.processing.state_action import StateActionCodec
from groot_ros.processing.statistics import Statistics

STATE = {"single_arm": np.full((1, 5), 10.0), "gripper": np.full((1, 1), 40.0)}
RELATIVE_POSE = ActionConfig(Representation.RELATIVE, ActionType.EEF, ActionFormat.XYZ_ROT6D)


def statistics_of(raw: dict | None = None) -> Statistics:
    raw = tiny_statistics()[TAG] if raw is None else raw
    return Statistics(raw["state"], raw["action"], raw.get("relative_action", {}))


def codec(raw: dict | None = None, **changes) -> StateActionCodec:
    config = tiny_processor_config(**changes)
    return StateActionCodec(config.codec(), config.embodiment(TAG), statistics_of(raw))


def columns(shape: tuple[int, ...], low: float, high: float) -> dict:
    limits = {"min": low, "max": high, "q01": low / 2, "q99": high / 2}
    return {k: np.full(shape, v) for k, v in {**limits, "mean": 1.0, "std": 2.0}.items()}


def one_group(state: dict, action: dict, std: float | None = None, **changes) -> StateActionCodec:
    """Return the codec of a single absolute group "a" with the given normalisation."""
    raw = {"state": {"a": columns((2,), -4.0, 4.0)}, "action": {"a": columns((2,), -4.0, 4.0)}}
    if std is not None:
        raw["state"]["a"]["std"] = np.full(2, std)
    embodiment = Embodiment(
        ModalityConfig((0,), ("front",)),
        ModalityConfig((0,), ("a",), **state),
        ModalityConfig((0, 1), ("a",), **action),
    )
    config = CodecConfig(max_action_horizon=4, **changes)
    return StateActionCodec(config, embodiment, statistics_of(raw))


@settings(deadline=None)
@given(
    arrays(np.float64, (HORIZON, 5), elements=st.floats(-9.0, 29.0)),
    arrays(np.float64, (HORIZON, 1), elements=st.floats(0.0, 100.0)),
)
def test_decoding_restores_actions_within_the_statistics(arm, gripper) -> None:
    encoded, mask = codec().encode_action({"single_arm": arm, "gripper": gripper}, STATE)
    decoded = codec().decode_action(encoded, STATE)
    np.testing.assert_allclose(decoded["single_arm"], arm, atol=1e-4)
    np.testing.assert_allclose(decoded["gripper"], gripper, atol=1e-4)
    assert mask.sum() == HORIZON * 6


@given(arrays(np.float64, (1, 5), elements=st.floats(-1e6, 1e6)))
def test_a_clipped_state_stays_within_minus_one_and_one(arm) -> None:
    encoded = codec().encode_state({**STATE, "single_arm": arm})
    assert np.abs(encoded).max() <= 1.0
    assert encoded.shape == (1, 8)
    assert not encoded[:, 6:].any()


@given(arrays(np.float32, (HORIZON, 8), elements=st.floats(-1e6, 1e6, width=32)))
def test_decoded_actions_stay_within_the_statistics(action) -> None:
    decoded = codec(clip_outliers=False).decode_action(action, STATE)
    assert (np.abs(decoded["single_arm"] - 10.0) <= 20.0 + 1e-4).all()
    assert (decoded["gripper"] >= 0.0).all()
    assert (decoded["gripper"] <= 100.0).all()


def test_a_constant_column_is_encoded_as_zero_and_decoded_as_its_constant() -> None:
    raw = tiny_statistics()[TAG]
    raw["action"]["gripper"] = columns((1,), 7.0, 7.0)
    raw["state"]["gripper"] = columns((1,), 7.0, 7.0)
    constant = codec(raw)
    assert constant.encode_state(STATE)[0, 5] == 0.0
    assert constant.decode_action(np.full((HORIZON, 8), 0.9), STATE)["gripper"].max() == 7.0


def test_a_chunk_shorter_than_the_statistics_is_encoded() -> None:
    short = {"single_arm": np.full((3, 5), 20.0), "gripper": np.full((3, 1), 50.0)}
    encoded, mask = codec().encode_action(short, STATE)
    assert mask.sum() == 3 * 6
    np.testing.assert_allclose(encoded[:3, :5], 0.5)
    assert not encoded[3:].any()


def test_a_prefix_is_relative_to_the_given_state_and_not_clipped() -> None:
    """Check with relative limits of +-20 degrees, so 60 degrees from the state is 3."""
    arm = STATE["single_arm"][-1:] + np.full((3, 5), 60.0)
    values, known = codec().encode_prefix(
        {"single_arm": arm, "gripper": np.full((3, 1), 150.0)}, STATE
    )
    np.testing.assert_allclose(values[:, :5], 3.0)
    np.testing.assert_allclose(values[:, 5:], 2.0)
    assert values.shape == (3, 6)
    assert known.all()


def test_only_frozen_steps_may_decode_beyond_the_statistics() -> None:
    beyond = np.full((HORIZON, 8), 3.0)
    decoded = codec().decode_action(beyond, STATE, frozen_steps=2)["single_arm"]
    moved = decoded - STATE["single_arm"][-1]
    np.testing.assert_allclose(moved[:2], 60.0, rtol=1e-6)
    np.testing.assert_allclose(moved[2:], 20.0, rtol=1e-6)


def test_a_group_missing_from_a_prefix_is_masked() -> None:
    values, known = codec().encode_prefix({"gripper": np.full((2, 1), 50.0)}, STATE)
    assert known.tolist() == [False] * 5 + [True]
    assert not values.any()


@pytest.mark.parametrize(
    ("steps", "problem"), [((2, 3), "differ in steps"), ((HORIZON + 1,) * 2, "horizon is 8")]
)
def test_a_prefix_of_a_wrong_length_is_rejected(steps, problem) -> None:
    arm, gripper = steps
    with pytest.raises(ValueError, match=problem):
        codec().encode_prefix(
            {"single_arm": np.zeros((arm, 5)), "gripper": np.zeros((gripper, 1))}, STATE
        )


def test_every_relative_step_uses_its_own_statistics() -> None:
    raw = tiny_statistics()[TAG]
    raw["relative_action"]["single_arm"]["max"][2] = 60.0
    raw["relative_action"]["single_arm"]["min"][2] = -60.0
    decoded = codec(raw).decode_action(np.ones((HORIZON, 8)), STATE)["single_arm"]
    assert decoded[:4, 0].tolist() == [30.0, 30.0, 70.0, 30.0]


def test_relative_actions_refer_to_the_last_state_step() -> None:
    history = {"single_arm": np.array([[0.0] * 5, [50.0] * 5]), "gripper": np.zeros((2, 1))}
    decoded = codec().decode_action(np.zeros((HORIZON, 8)), history)
    assert (decoded["single_arm"] == 50.0).all()


def test_a_batch_decodes_each_sample_with_its_own_state() -> None:
    state = {
        "single_arm": np.stack([np.zeros((1, 5)), np.ones((1, 5))]),
        "gripper": np.zeros((2, 1, 1)),
    }
    decoded = codec().decode_action(np.zeros((2, HORIZON, 8)), state)["single_arm"]
    assert decoded.shape == (2, HORIZON, 5)
    assert (decoded[0] == 0.0).all()
    assert (decoded[1] == 1.0).all()


def test_sines_precede_cosines_if_the_flag_is_on() -> None:
    angles = np.array([[0.1, 0.2]])
    on = one_group({"sin_cos_embedding_keys": ("a",)}, {}, apply_sincos_state_encoding=True)
    off = one_group({"sin_cos_embedding_keys": ("a",)}, {})
    expected = [*np.sin(angles[0]), *np.cos(angles[0])]
    np.testing.assert_allclose(on.encode_state({"a": angles})[0, :4], expected, rtol=1e-6)
    np.testing.assert_allclose(off.encode_state({"a": angles})[0, :2], angles[0] / 4, rtol=1e-6)


def test_z_scores_are_clipped_only_when_actions_are_encoded() -> None:
    z = one_group({"mean_std_embedding_keys": ("a",)}, {"mean_std_embedding_keys": ("a",)})
    far = np.array([[9.0, 1.0]])
    assert z.encode_state({"a": far})[0, :2].tolist() == [4.0, 0.0]
    assert z.encode_action({"a": far}, {"a": far})[0][0, :2].tolist() == [1.0, 0.0]
    assert z.decode_action(np.full((2, 29), 4.0), {"a": far})["a"].max() == 9.0


def test_percentiles_are_not_used_for_relative_groups() -> None:
    raw = tiny_statistics()[TAG]
    raw["relative_action"]["single_arm"]["q99"] = np.full((HORIZON, 5), 5.0)
    raw["action"]["gripper"]["q99"] = np.array([60.0])
    decoded = codec(raw, use_percentiles=True).decode_action(np.ones((HORIZON, 8)), STATE)
    assert decoded["single_arm"].max() == 30.0
    assert decoded["gripper"].max() == 60.0


def test_a_pose_group_is_recognised_by_type_and_width() -> None:
    pose = columns((9,), -1.0, 1.0)
    raw = {
        "state": {"eef": pose},
        "action": {"eef": pose},
        "relative_action": {"eef": columns((2, 9), -1.0, 1.0)},
    }
    embodiment = Embodiment(
        ModalityConfig((0,), ("front",)),
        ModalityConfig((0,), ("eef",)),
        ModalityConfig((0, 1), ("eef",), action_configs=(RELATIVE_POSE,)),
    )
    config = CodecConfig(use_relative_action=True)
    here = np.array([[0.1, 0.2, 0.3, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
    found = StateActionCodec(config, embodiment, statistics_of(raw))
    assert found.is_pose("eef")
    still = np.zeros((2, 29))
    still[:, 3], still[:, 7] = 1.0, 1.0
    np.testing.assert_allclose(
        found.decode_action(still, {"eef": here})["eef"], np.tile(here, (2, 1)), atol=1e-6
    )
    for wrong in (ActionFormat.XYZ_ROTVEC, ActionFormat.DEFAULT):
        action = replace(embodiment.action, action_configs=(replace(RELATIVE_POSE, format=wrong),))
        with pytest.raises(CheckpointError, match="'eef' must have format XYZ_ROT6D"):
            StateActionCodec(config, replace(embodiment, action=action), statistics_of(raw))


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"gripper": STATE["gripper"]}, "state group 'single_arm' is missing; given: gripper"),
        ({**STATE, "single_arm": np.zeros((1, 6))}, r"'single_arm' must be \[T, 5\], not \[1, 6\]"),
        (
            {**STATE, "gripper": np.full((1, 1), np.nan)},
            "'gripper' holds values that are not finite",
        ),
    ],
)
def test_a_wrong_state_is_an_error_naming_the_group(state, problem) -> None:
    with pytest.raises(ValueError, match=problem):
        codec().encode_state(state)


def test_a_state_far_outside_the_statistics_is_clipped_with_one_warning(caplog) -> None:
    found = codec()
    radians_for_degrees = {**STATE, "gripper": np.full((1, 1), 4000.0)}
    with caplog.at_level(logging.WARNING):
        first = found.encode_state(radians_for_degrees)
        found.encode_state(radians_for_degrees)
    assert first[0, 5] == 1.0
    assert [r.message for r in caplog.records] == [
        "state 'gripper' column 0 is 4000, far outside the training data; "
        "check units and calibration (reported once)"
    ]


def test_a_state_slightly_outside_the_statistics_gives_no_warning(caplog) -> None:
    codec().encode_state({**STATE, "gripper": np.full((1, 1), 130.0)})
    assert not caplog.records


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda raw: raw["relative_action"].clear(), "'relative_action.single_arm' is missing"),
        (lambda raw: raw["state"].pop("gripper"), "'state.gripper' is missing"),
        (lambda raw: raw["action"]["gripper"].pop("max"), "'action.gripper.max' is missing"),
        (
            lambda raw: raw["relative_action"].update(single_arm=columns((2, 5), -1.0, 1.0)),
            "'relative_action.single_arm' has 2 steps",
        ),
        (
            lambda raw: raw["relative_action"].update(single_arm=columns((HORIZON, 4), -1.0, 1.0)),
            "'relative_action.single_arm' has 4 columns",
        ),
        (
            lambda raw: raw["action"].update(gripper=columns((4,), -1.0, 1.0)),
            "9 columns, max_action_dim is 8",
        ),
        (
            lambda raw: raw["state"].update(gripper=columns((4,), -1.0, 1.0)),
            "9 columns, max_state_dim is 8",
        ),
    ],
)
def test_statistics_that_do_not_match_the_groups_are_rejected(edit, problem) -> None:
    raw = tiny_statistics()[TAG]
    edit(raw)
    with pytest.raises(CheckpointError, match=problem):
        codec(raw)


def test_a_reference_that_is_not_a_state_group_is_rejected() -> None:
    config = tiny_processor_config()
    embodiment = config.embodiment(TAG)
    relative = ActionConfig(Representation.RELATIVE, state_key="elsewhere")
    action = replace(embodiment.action, action_configs=(relative, ActionConfig()))
    with pytest.raises(CheckpointError, match="relative to state 'elsewhere'"):
        StateActionCodec(config.codec(), replace(embodiment, action=action), statistics_of())


@pytest.mark.parametrize("value", [3e38, -1e39, 1e300])
def test_a_state_beyond_float32_is_rejected(value: float) -> None:
    state = {**STATE, "single_arm": np.array([[0.0, 1.0, value, 3.0, 4.0]])}
    problem = r"state group 'single_arm' column 2 is .*: too large for float32"
    with pytest.raises(ValueError, match=problem):
        codec().encode_state(state)
    assert np.isfinite(codec().encode_state({**STATE, "gripper": np.array([[1e38]])})).all()


def test_a_state_that_is_beyond_float32_once_normalised_is_rejected() -> None:
    scored = one_group({"mean_std_embedding_keys": ("a",)}, {})
    assert np.isfinite(scored.encode_state({"a": np.array([[0.0, 1e37]])})).all()
    tight = one_group({"mean_std_embedding_keys": ("a",)}, {}, std=1e-3)
    with pytest.raises(ValueError, match=r"column 1 is 1e\+37: too large for float32"):
        tight.encode_state({"a": np.array([[0.0, 1e37]])})


def test_columns_of_a_prefix_that_move_nothing_are_not_known():
    arm = STATE["single_arm"][-1:].repeat(3, axis=0)
    complete, _ = codec().encode_prefix({"single_arm": arm}, STATE)
    arm = arm.copy()
    arm[:, 1] = np.nan
    values, known = codec().encode_prefix({"single_arm": arm}, STATE)
    width = arm.shape[1]
    assert known[:width].tolist() == [i != 1 for i in range(width)]
    assert (values[:, 1] == 0.0).all()
    assert (np.delete(values, 1, axis=1) == np.delete(complete, 1, axis=1)).all()
