# SPDX-License-Identifier: Apache-2.0
"""ShutdownSignal records the first end signal and restores the previous handlers."""

import os
import signal

import pytest

from groot_ros.bringup.supervisor import ShutdownSignal


@pytest.fixture
def previous_handler():
    """Install another handler for each signal; return the list of signals it receives."""
    received: list[int] = []
    signals = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    before = {n: signal.signal(n, lambda number, _: received.append(number)) for n in signals}
    yield received
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_kept_and_later_ones_have_no_effect(previous_handler, number):
    with ShutdownSignal() as shutdown:
        assert not shutdown.received
        assert not shutdown.wait(0.0)
        os.kill(os.getpid(), number)
        assert shutdown.wait(5.0)
        os.kill(os.getpid(), signal.SIGTERM)
        assert shutdown.received
        assert shutdown.number == number
        assert str(shutdown) == f"stopped by {number.name}"
    assert previous_handler == []


def test_the_previous_handlers_are_restored_on_exit(previous_handler):
    with ShutdownSignal() as shutdown:
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    assert previous_handler == [signal.SIGTERM]
    assert not shutdown.received


def test_sighup_is_ignored_under_nohup(previous_handler):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with ShutdownSignal() as shutdown:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not shutdown.received
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
