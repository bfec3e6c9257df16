from hypothesis import given
from hypothesis import strategies as st

from groot_ros.control.fault_debounce import FaultDebounce
from groot_ros.core import s_to_ns


def over(patience, at, wrong=True):
    return patience.is_over(wrong, s_to_ns(at), 0.5)


def test_what_stays_wrong_is_a_fault_after_so_long():
    patience = FaultDebounce()
    assert [over(patience, t) for t in (3.0, 3.49, 3.5, 3.51)] == [False, False, True, True]


def test_what_passes_by_what_is_right_is_no_recovery():
    patience = FaultDebounce()
    assert not over(patience, 1.0)
    for at in (1.2, 1.3, 1.39):
        assert not over(patience, at, wrong=False)
        assert patience.tried
    assert not over(patience, 1.45)
    assert not over(patience, 1.49)
    assert over(patience, 1.5)


def test_what_was_right_without_a_break_for_a_while_is_over():
    patience = FaultDebounce()
    assert not patience.tried
    assert not over(patience, 1.0)
    for at in (1.1, 1.2, 1.3):
        assert patience.tried
        assert not over(patience, at, wrong=False)
    assert not patience.tried
    assert not over(patience, 1.6)
    assert over(patience, 2.1)


def test_a_fault_is_found_only_while_it_is_wrong():
    patience = FaultDebounce()
    assert not over(patience, 1.0)
    assert not over(patience, 1.45)
    assert not over(patience, 1.55, wrong=False)
    assert over(patience, 1.6)


def test_one_right_observation_after_a_long_silence_is_no_recovery():
    patience = FaultDebounce()
    assert not over(patience, 1.0)
    assert not over(patience, 1.4, wrong=False)
    assert patience.tried


@given(st.floats(0.01, 0.19), st.floats(0.01, 0.4))
def test_a_sway_never_outlasts_it(right, wrong):
    """Wrong and right by turns: found at the first wrong observation after 0.5 s."""
    patience, at, found = FaultDebounce(), 0.0, False
    while not found:
        for length, is_wrong in ((wrong, True), (right, False)):
            for share in (0.0, 0.5, 0.99):
                now = at + share * length
                found = found or over(patience, now, is_wrong)
                assert not found or now >= 0.5 - 1e-6
            at += length
        assert at <= 0.5 + 2 * (right + wrong)


def test_a_clock_that_went_back_begins_it_anew():
    patience = FaultDebounce()
    assert not over(patience, 5.0)
    assert not over(patience, 1.0)
    assert not over(patience, 1.4)
    assert over(patience, 1.5)


def test_without_any_patience_it_is_a_fault_at_once():
    assert FaultDebounce().is_over(True, 7, 0.0)
