# SPDX-License-Identifier: Apache-2.0
"""Messages that reach their controllers after the splice, and the lead time that follows them."""

import numpy as np
import pytest
from support.control_bench import EPOCH_NS
from support.controller_bench import PERIOD, ControllerBench, Policy, sine

from groot_ros.control import ExecutorConfig
from groot_ros.control.curve import Curve
from groot_ros.control.splice_timing import SpliceTiming, time_offset
from groot_ros.core import ExecutorStatus, ReasonCode, s_to_ns


def disagreeing(spread: float = 0.05) -> Policy:
    """Return a policy whose chunks have offsets of this standard deviation, rad."""
    rng, base = np.random.default_rng(0), sine()
    return lambda t, measured: base(t, measured) + rng.normal() * spread


def driven(delay: float, seconds: float, **settings: float) -> tuple[ControllerBench, set[str]]:
    """Return a bench after some time, and the reason codes that it had."""
    bench = ControllerBench(disagreeing(), ExecutorConfig(**settings), delay=delay)
    codes = set()
    while bench.t < seconds:
        bench.run(0.02)
        codes.add(bench.state.reason_code)
    return bench, codes


def test_messages_within_the_lead_time_are_not_late():
    bench, _ = driven(0.012, 4.0)
    assert bench.state.late_splices == 0
    assert bench.state.splice_lead_time == 0.02


@pytest.mark.parametrize("delay", [0.05, 0.08])
def test_the_lead_time_follows_the_measured_delay_of_late_messages(delay):
    bench, codes = driven(delay, 4.0)
    state = bench.state
    assert state.late_splices >= 1
    # Reports are 4 ms apart, and the two motions must differ before one of them can be recognised.
    assert delay <= state.splice_delay < delay + 0.03
    assert delay < state.splice_lead_time <= 0.1
    later = state.late_splices
    bench.run(4.0)
    assert bench.state.late_splices <= later + 1
    # A late message is no fault of the controller.
    assert ReasonCode.TRACKING_ERROR not in codes
    assert bench.rejected == []


def test_commands_are_smooth_once_the_lead_time_has_adapted():
    bench, _ = driven(0.08, 4.0)
    since = bench.t
    bench.run(4.0)
    assert bench.largest_step(since) < 3.0 * PERIOD


def test_a_configured_lead_time_is_not_shortened():
    bench, _ = driven(0.05, 4.0, splice_lead_time=0.06)
    assert bench.state.late_splices == 0
    assert bench.state.splice_lead_time == 0.06


def test_a_message_late_at_full_speed_is_no_fault():
    """55 mrad at 3 rad/s are 18 ms: the real controller was stopped for that."""
    bench = ControllerBench(sine(0.6, 0.7), delay=0.045)
    codes = set()
    for _ in range(200):
        bench.run(0.02)
        codes.add(bench.state.reason_code)
    assert codes == {ReasonCode.WAITING, ReasonCode.EXECUTING}
    assert bench.state.status == ExecutorStatus.RUNNING


def line(slope: float) -> Curve:
    times = EPOCH_NS + np.array([0, s_to_ns(1.0)])
    return Curve(times, np.array([[0.0, 1.0], [slope, 1.0]]), np.array([[slope, 0.0]] * 2))


JOINTS = {"a": 0, "b": 1}


def follows_former(timing: SpliceTiming, at: float, a: float) -> bool:
    stamp = EPOCH_NS + s_to_ns(at)
    return timing.follows_former("arm", JOINTS, {"a": a, "b": 1.0}, stamp, stamp, 0.02)


def test_the_delay_is_the_time_from_sending_to_the_first_report_on_the_new_motion():
    timing = SpliceTiming()
    timing.record_sent(EPOCH_NS, line(1.0), line(0.5), ["arm"])
    assert follows_former(timing, 0.02, 0.02)
    assert follows_former(timing, 0.04, 0.04)
    assert not follows_former(timing, 0.06, 0.03)
    assert (timing.late, timing.delay) == (1, pytest.approx(0.06))
    assert timing.lead_time(0.02, 0.3) == pytest.approx(0.077)
    assert timing.lead_time(0.02, 0.15) == pytest.approx(0.05)


def test_the_lead_time_returns_to_the_configured_one_while_messages_are_on_time():
    timing = SpliceTiming()
    timing.record_sent(EPOCH_NS, line(1.0), line(0.5), ["arm"])
    follows_former(timing, 0.04, 0.04)
    follows_former(timing, 0.06, 0.03)
    for _ in range(2500):
        timing.record_sent(EPOCH_NS, line(1.0), line(0.5), ["arm"])
        assert not follows_former(timing, 0.02, 0.01)
    assert timing.lead_time(0.02, 0.3) == 0.02
    assert timing.late == 1


def test_the_former_motion_is_no_excuse_for_ever():
    timing = SpliceTiming()
    timing.record_sent(EPOCH_NS, line(1.0), line(0.5), ["arm"])
    assert follows_former(timing, 0.1, 0.1)
    assert not follows_former(timing, 0.16, 0.16)
    assert timing.late == 0


@pytest.mark.parametrize("ahead", [-0.05, 0.0, 0.03])
def test_the_offset_of_a_reference_along_the_motion_is_found(ahead):
    curve, at = line(0.8), EPOCH_NS + s_to_ns(0.4)
    reference = curve.at(at + s_to_ns(ahead))[0]
    assert time_offset(curve, [0, 1], reference, at) == pytest.approx(s_to_ns(ahead), abs=1000)


def test_no_offset_is_found_at_rest_or_beside_the_motion():
    at = EPOCH_NS + s_to_ns(0.4)
    assert time_offset(line(0.01), [0, 1], np.array([0.004, 1.0]), at) is None
    assert time_offset(line(0.8), [0, 1], np.array([0.32, 1.2]), at) is None
    assert time_offset(line(0.8), [0, 1], np.array([0.9, 1.0]), at) is None
