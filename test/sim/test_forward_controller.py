import pytest

from groot_ros.sim.forward_controller import ForwardController


def test_it_holds_the_first_measured_position_until_a_command_comes():
    controller = ForwardController(("a", "b"))
    assert controller.update([0.1, 0.2]).tolist() == [0.1, 0.2]
    assert controller.update([0.3, 0.4]).tolist() == [0.1, 0.2]
    controller.accept([1.0, 2.0])
    assert controller.update([0.3, 0.4]).tolist() == [1.0, 2.0]


def test_hold_forgets_the_command():
    controller = ForwardController(("a",))
    controller.accept([1.0])
    controller.hold()
    assert controller.update([0.5]).tolist() == [0.5]


def test_a_command_of_another_size_is_rejected_and_changes_nothing():
    controller = ForwardController(("a", "b"))
    controller.accept([1.0, 2.0])
    with pytest.raises(ValueError, match=r"command size \(1\)"):
        controller.accept([3.0])
    assert controller.update([0.0, 0.0]).tolist() == [1.0, 2.0]
