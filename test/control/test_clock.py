import pytest

from groot_ros.control.clock import ClockWatch
from groot_ros.types import s_to_ns


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
