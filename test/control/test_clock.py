import pytest

from groot_ros.control.executor_status import ClockWatch
from groot_ros.core import s_to_ns


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (1.0, ""),
        (-0.05, ""),
        (-0.06, "the clock went back"),
        (1.1, "the clock went 1.1 s ahead, or this process stood still"),
    ],
)
def test_small_steps_pass_and_jumps_are_named_once(step, said):
    watch = ClockWatch()
    assert watch.jump(s_to_ns(100.0), 0.05, 1.0) == ""
    now_ns = s_to_ns(100.0 + step)
    assert watch.jump(now_ns, 0.05, 1.0) == said
    assert watch.jump(now_ns + 1, 0.05, 1.0) == ""


def test_right_after_a_stall_what_is_old_may_be_unread():
    watch = ClockWatch()
    at = [s_to_ns(t) for t in (10.0, 10.01, 10.51, 10.6, 10.62)]
    caught_up = []
    for now_ns in at:
        watch.jump(now_ns, 0.05, 1.0)
        caught_up.append(not watch.is_catching_up(now_ns))
    assert caught_up == [True, True, False, False, True]


def test_who_calls_seldom_is_not_stalled():
    watch = ClockWatch()
    at = [s_to_ns(t) for t in (10.0, 11.0, 12.0)]
    late = []
    for now_ns in at:
        watch.jump(now_ns, 0.05, 2.0)
        late.append(watch.is_catching_up(now_ns))
    assert late == [False, True, False]
