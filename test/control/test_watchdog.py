import pytest

from groot_ros.control.watchdog import Watchdog
from groot_ros.core import ExecutorStatus, ReasonCode


@pytest.mark.parametrize(
    ("now", "status"),
    [
        (10, ExecutorStatus.RUNNING),
        (20, ExecutorStatus.BRAKING),
        (30, ExecutorStatus.HOLDING),
    ],
)
def test_motion_runs_then_coasts_on_its_tail_then_holds(now, status):
    assert Watchdog().status(now, 20, 30)[0] == status


def test_before_the_first_chunk_it_is_idle():
    assert Watchdog().status(0, None, None) == (
        ExecutorStatus.IDLE,
        ReasonCode.WAITING,
        "waiting for the first chunk",
    )


def test_a_hold_is_holding_whatever_moves():
    watchdog = Watchdog()
    watchdog.hold = True
    assert watchdog.rejection().reason == "on_hold"
    assert watchdog.status(10, 20, 30)[0] == ExecutorStatus.HOLDING


def test_an_emergency_stop_outranks_a_hold_and_lasts_until_resumed():
    watchdog = Watchdog()
    watchdog.hold = watchdog.estop = True
    assert watchdog.status(10, 20, 30)[0] == ExecutorStatus.ESTOPPED
    watchdog.accepted()
    assert watchdog.rejection().reason == "estopped"
    watchdog.resume()
    assert watchdog.rejection().reason == "on_hold"


def test_a_halt_holds_with_its_reason_until_a_chunk_is_accepted():
    watchdog = Watchdog()
    watchdog.halt("joint states lost", ReasonCode.JOINT_STATES_LOST)
    assert watchdog.rejection() is None
    assert watchdog.status(10, 20, 30) == (
        ExecutorStatus.HOLDING,
        ReasonCode.JOINT_STATES_LOST,
        "joint states lost",
    )
    watchdog.accepted()
    assert watchdog.status(10, 20, 30)[0] == ExecutorStatus.RUNNING


def test_so_many_starvations_need_a_word_from_the_operator():
    watchdog = Watchdog()
    watchdog.underrun(2)
    assert watchdog.rejection() is None
    watchdog.underrun(2)
    assert watchdog.rejection().reason == "needs_resume"
    watchdog.resume()
    assert watchdog.rejection() is None
    watchdog.underrun(2)
    assert watchdog.rejection() is None
    assert watchdog.underruns == 3


def test_zero_allows_any_number_of_starvations():
    watchdog = Watchdog()
    for _ in range(100):
        watchdog.underrun(0)
    assert watchdog.rejection() is None
