"""The first signal to end is noted, interrupts nothing, and what was there before comes back."""

import os
import signal

import pytest

from groot_ros.bringup.shutdown_signal import ShutdownSignal


@pytest.fixture
def interrupted():
    """A handler of somebody else's for each signal; what reached it."""
    reached: list[int] = []
    signals = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    before = {n: signal.signal(n, lambda number, _: reached.append(number)) for n in signals}
    yield reached
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_kept_and_later_ones_change_nothing(interrupted, number):
    with ShutdownSignal() as ending:
        assert not ending.asked
        assert not ending.wait(0.0)
        os.kill(os.getpid(), number)
        assert ending.wait(5.0)
        os.kill(os.getpid(), signal.SIGTERM)
        assert ending.asked
        assert ending.number == number
        assert str(ending) == f"stopped by {number.name}"
    assert interrupted == []


def test_afterwards_signals_go_where_they_went_before(interrupted):
    with ShutdownSignal() as ending:
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    assert interrupted == [signal.SIGTERM]
    assert not ending.asked


def test_of_nohup_a_closed_terminal_ends_nothing(interrupted):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with ShutdownSignal() as ending:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not ending.asked
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
