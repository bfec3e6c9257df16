# SPDX-License-Identifier: Apache-2.0
"""Prefixes for real-time chunking: which motion is continued, and how strongly."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.control_bench import ARM, DT, EPOCH_NS, GRIPPER, Bench, sway_chunk

from groot_ros.control.rtc import Continuation, guidance_weights, schedule, velocity_ramp
from groot_ros.core import ChunkOrigin, CommittedTimeline, RtcMode, s_to_ns


@st.composite
def sizes(draw):
    steps = draw(st.integers(1, 64))
    overlap = draw(st.integers(0, steps))
    return steps, draw(st.integers(0, overlap)), overlap


@given(sizes())
def test_guidance_weights_are_one_while_frozen_then_fall_to_zero(size):
    steps, frozen, overlap = size
    weights = guidance_weights(steps, frozen, overlap)
    assert (weights[:frozen] == 1.0).all()
    assert (np.diff(weights[frozen:]) <= 0.0).all()
    assert ((weights[frozen:overlap] > 0.0) & (weights[frozen:overlap] < 1.0)).all()
    assert (weights[overlap:] == 0.0).all()


def test_guidance_weights_begin_and_end_their_fall_without_a_corner():
    """With H = 16, d = 4, s = 6 the remaining share of the overlap is (10 - i) / 7."""
    left = np.array([6, 5, 4, 3, 2, 1]) / 7
    weights = guidance_weights(16, 4, 10)
    np.testing.assert_allclose(weights[4:10], 3 * left**2 - 2 * left**3, rtol=1e-12)
    drops = -np.diff(weights)
    assert drops[3] < 0.06
    assert drops[9] < 0.06
    assert drops.max() < 0.22


@given(sizes())
def test_the_velocity_ramp_is_zero_while_frozen_then_rises_to_one(size):
    steps, frozen, overlap = size
    strength = velocity_ramp(steps, frozen, overlap)
    assert (strength[:frozen] == 0.0).all()
    assert (np.diff(strength) >= 0.0).all()
    assert ((strength[frozen:overlap] > 0.0) & (strength[frozen:overlap] < 1.0)).all()
    assert (strength[overlap:] == 1.0).all()


@pytest.mark.parametrize("mode", list(RtcMode))
def test_without_known_steps_every_mode_is_plain_sampling(mode):
    factors = schedule(mode, 8, 0, 0)
    assert not factors.start.any()
    assert not factors.weight.any()
    assert not factors.clean.any()
    assert (factors.strength == 1.0).all()


def test_trained_mode_shows_only_frozen_steps_as_denoised():
    trained = schedule(RtcMode.TRAINED, 6, 2, 4)
    np.testing.assert_array_equal(trained.clean, [1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(trained.start, trained.clean)
    np.testing.assert_array_equal(trained.strength, 1 - trained.clean)
    assert not trained.weight.any()


GROUPS = {"arm": ARM, "gripper": (GRIPPER,)}
HORIZON = 16


def origin(at: float, **changes) -> ChunkOrigin:
    return replace(ChunkOrigin(EPOCH_NS + s_to_ns(at), "a", 0, new_instruction=False), **changes)


@pytest.fixture
def timeline() -> CommittedTimeline:
    """Return the timeline of a chunk observed at 0 s and received 0.1 s later."""
    bench = Bench()
    bench.t = 0.1
    assert bench.give(sway_chunk(0.0)) is None
    return bench.updates[-1][1].timeline


def continuation(timeline=None, mode=RtcMode.GUIDED, **changes) -> Continuation:
    given = {"groups": GROUPS, "dt": DT, "horizon": HORIZON, **changes}
    made = Continuation(mode, **given)
    if timeline is not None:
        made.set_timeline(timeline)
    return made


def test_the_prefix_is_the_committed_motion_at_the_steps_of_the_new_chunk(timeline):
    bench = Bench()
    bench.t = 0.1
    bench.give(sway_chunk(0.0))
    at = 0.2 + 1 / 77
    prefix = continuation(timeline).prefix(origin(at), 3, 6)
    plan = bench.executor.motion.plan
    steps = len(prefix.values["arm"])
    due = EPOCH_NS + s_to_ns(at) + np.round(np.arange(steps) * DT * 1e9).astype(np.int64)
    expected, _ = plan.sample(due)
    assert due[-1] <= plan.end_ns < due[-1] + s_to_ns(DT)
    np.testing.assert_allclose(prefix.values["arm"], expected[:, :3], atol=1e-9)
    np.testing.assert_allclose(prefix.values["gripper"], expected[:, 3:], atol=1e-9)
    assert (prefix.id, prefix.mode, prefix.frozen_steps) == (timeline.id, RtcMode.GUIDED, 1)


def test_only_known_steps_are_frozen_or_guided(timeline):
    # At 0.2 s only 10 of the 16 steps of the previous chunk are left.
    prefix = continuation(timeline).prefix(origin(0.2), 4, 5)
    assert len(prefix.weight) == len(prefix.values["arm"]) == 10
    held = continuation(timeline, mode=RtcMode.NATIVE).prefix(origin(0.2), 4, 5)
    assert (held.strength[:4] == 0.0).all()
    assert ((held.strength[4:] > 0.0) & (held.strength[4:] < 1.0)).all()
    assert held.frozen_steps == 4


@pytest.mark.parametrize(("dt", "frozen"), [(DT, 1), (0.05, 4), (0.1, 4)])
def test_a_guided_hold_is_released_over_a_third_of_a_second_even_before_d(dt, frozen):
    rows = np.zeros((200, 4))
    known = CommittedTimeline(
        stamp_ns=EPOCH_NS,
        id=1,
        session="a",
        episode=0,
        chunk_id=1,
        start_ns=EPOCH_NS,
        dt=0.01,
        joint_names=(*ARM, GRIPPER),
        positions=rows,
        velocities=rows,
    )
    prefix = continuation(known, dt=dt).prefix(origin(0.0), 4, 6)
    assert prefix.frozen_steps == frozen
    assert (prefix.weight[:frozen] == 1.0).all()
    assert ((prefix.weight[frozen:10] > 0.0) & (prefix.weight[frozen:10] < 1.0)).all()
    assert np.abs(np.diff(prefix.weight)).max() < 1.6 * dt / min(1 / 3, 10 * dt)


@pytest.mark.parametrize(
    ("mode", "at", "delay", "given"),
    [
        # A guided hold needs 0.25 s of known motion, which is 8 steps.
        (RtcMode.GUIDED, 0.25, 4, True),
        (RtcMode.GUIDED, 0.3, 4, False),
        (RtcMode.NATIVE, 0.3, 5, True),
        (RtcMode.NATIVE, 0.3, 6, False),
        (RtcMode.NATIVE, 0.1, 9, False),
    ],
)
def test_there_is_no_prefix_if_its_hold_would_end_abruptly(timeline, mode, at, delay, given):
    prefix = continuation(timeline, mode=mode).prefix(origin(at), delay, 6)
    assert (prefix is not None) == given


def test_after_a_new_instruction_only_the_frozen_steps_are_continued(timeline):
    old = continuation(timeline).prefix(origin(0.1), 3, 4)
    new = continuation(timeline).prefix(origin(0.1, new_instruction=True), 3, 4)
    assert (old.weight > 0).sum() == HORIZON - 4
    assert (new.weight > 0).sum() == new.frozen_steps == 3


def test_a_first_step_after_the_observation_reduces_the_frozen_steps(timeline):
    native = {"mode": RtcMode.NATIVE}
    late = continuation(timeline, first_step=2 * DT, **native).prefix(origin(0.1), 3, 6)
    assert late.frozen_steps == 1
    on_time = continuation(timeline, **native).prefix(origin(0.1 + 2 * DT), 3, 6)
    np.testing.assert_allclose(late.values["arm"], on_time.values["arm"], atol=1e-8)


def test_groups_without_committed_motion_are_left_out(timeline):
    groups = {**GROUPS, "head": ("neck",)}
    assert set(continuation(timeline, groups=groups).prefix(origin(0.1), 3, 6).values) == {*GROUPS}


@pytest.mark.parametrize(
    ("changes", "asked", "delay"),
    [
        ({"mode": RtcMode.OFF}, {}, 3),
        ({}, {"session": "another"}, 3),
        ({}, {"episode": 1}, 3),
        ({}, {"t_obs_ns": EPOCH_NS + s_to_ns(0.6)}, 3),
        ({}, {"t_obs_ns": EPOCH_NS - s_to_ns(5.0)}, 3),
        ({"groups": {"head": ("neck",)}}, {}, 3),
        ({}, {}, 0),
        ({}, {}, 11),
    ],
)
def test_there_is_no_prefix_without_motion_to_continue(timeline, changes, asked, delay):
    assert continuation(timeline, **changes).prefix(origin(0.1, **asked), delay, 6) is None


def test_there_is_no_prefix_before_the_first_timeline():
    assert continuation().prefix(origin(0.1), 3, 6) is None


def test_a_given_number_of_frozen_steps_overrides_delay_and_budget(timeline):
    prefix = continuation(timeline, frozen_steps=1000).prefix(origin(0.3), 0, 16)
    assert prefix.frozen_steps == len(prefix.values["arm"]) == 7
    assert (prefix.weight == 1.0).all()
    few = continuation(timeline, frozen_steps=2).prefix(origin(0.3), 9, 10)
    assert few.frozen_steps == 2
    assert (few.weight[:2] == 1.0).all()
    assert (few.weight[2:6] > 0.0).all()
    assert (
        continuation(timeline, frozen_steps=2, mode=RtcMode.OFF).prefix(origin(0.3), 4, 6) is None
    )


@pytest.mark.parametrize("mode", [RtcMode.GUIDED, RtcMode.NATIVE])
@given(
    at=st.floats(0.12, 0.5), delay=st.integers(1, 8), executed=st.integers(1, 15), new=st.booleans()
)
def test_a_recorded_prefix_equals_the_live_one(mode, at, delay, executed, new):
    bench = Bench()
    bench.t = 0.1
    assert bench.give(sway_chunk(0.0)) is None
    known = bench.updates[-1][1].timeline
    of = origin(at, new_instruction=new)
    live = continuation(known, mode=mode).prefix(of, delay, executed)
    if live is None:
        return
    again = continuation(known, mode=mode).recorded_prefix(
        of.t_obs_ns, live.frozen_steps, live.overlap_steps
    )
    assert again is not None
    assert live.frozen_steps <= live.overlap_steps <= len(live.weight)
    for name in ("start", "weight", "strength", "clean"):
        np.testing.assert_array_equal(getattr(again, name), getattr(live, name))
    for group, values in live.values.items():
        np.testing.assert_array_equal(again.values[group], values)
    assert (again.id, again.mode, again.frozen_steps) == (live.id, mode, live.frozen_steps)


def test_a_recorded_prefix_needs_a_timeline_that_covers_the_chunk(timeline):
    assert continuation().recorded_prefix(EPOCH_NS, 2, 4) is None
    made = continuation(timeline)
    assert made.recorded_prefix(EPOCH_NS + s_to_ns(60.0), 2, 4) is None
    assert made.recorded_prefix(EPOCH_NS + s_to_ns(0.2), 2, HORIZON + 1) is None
