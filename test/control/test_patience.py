from groot_ros.control.patience import Patience
from groot_ros.types import s_to_ns


def over(patience, at, wrong=True):
    return patience.is_over(wrong, s_to_ns(at), 0.5)


def test_what_stays_wrong_is_a_fault_after_so_long_and_is_said_once():
    patience = Patience()
    assert [over(patience, t) for t in (3.0, 3.49, 3.5, 3.51, 3.99, 4.02)] == [
        False,
        False,
        True,
        False,
        False,
        True,
    ]


def test_a_break_begins_it_anew():
    patience = Patience()
    assert not over(patience, 1.0)
    assert not over(patience, 1.4, wrong=False)
    assert not over(patience, 1.5)
    assert over(patience, 2.0)


def test_a_clock_that_went_back_begins_it_anew():
    patience = Patience()
    assert not over(patience, 5.0)
    assert not over(patience, 1.0)
    assert not over(patience, 1.4)
    assert over(patience, 1.5)


def test_without_any_patience_it_is_a_fault_at_once():
    assert Patience().is_over(True, 7, 0.0)
