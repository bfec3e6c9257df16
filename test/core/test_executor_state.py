import pytest

from groot_ros.core import ExecutorState, ExecutorStatus, MalformedError


def make(**changes) -> ExecutorState:
    fields = {
        "stamp_ns": 1,
        "status": ExecutorStatus.RUNNING,
        "reason": "",
        "joint_names": ("a", "b"),
        "splice_discontinuity": (0.0, 0.1),
        "limited_chunks": (0, 3),
    }
    return ExecutorState(**{**fields, **changes})


def test_figures_for_every_joint_are_accepted():
    assert make().limited_chunks == (0, 3)


@pytest.mark.parametrize(
    "changes",
    [{"splice_discontinuity": (0.0,)}, {"limited_chunks": (0, 1, 2)}, {"joint_names": ("a",)}],
)
def test_figures_that_do_not_fit_the_joints_are_rejected(changes):
    with pytest.raises(MalformedError) as error:
        make(**changes)
    assert error.value.reason == "sizes_disagree"
