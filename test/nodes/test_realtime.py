# SPDX-License-Identifier: Apache-2.0
"""Scheduling priority of the process, and the time for work between two ticks."""

import subprocess
import sys

import pytest

from groot_ros.nodes.realtime import TickBudget

REQUEST = """
import os, threading
from groot_ros.nodes.realtime import request_realtime
waiting = threading.Event()
threading.Thread(target=waiting.wait, daemon=True).start()
problem = request_realtime({priority})
threads = [int(t) for t in os.listdir("/proc/self/task")]
waiting.set()
fifo = [os.sched_getscheduler(t) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO for t in threads]
print(len(fifo), sum(fifo), problem)
"""


def request(priority: int) -> list[str]:
    command = [sys.executable, "-c", REQUEST.format(priority=priority)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip().split(" ", 2)


def test_every_thread_is_scheduled_in_real_time_or_the_reason_is_returned():
    threads, fifo, *problem = request(20)
    assert int(threads) >= 2
    if problem:
        assert "rtprio" in problem[0]
        assert fifo == "0"
    else:
        assert fifo == threads


def test_an_invalid_priority_is_an_error_not_a_missing_permission():
    with pytest.raises(subprocess.CalledProcessError):
        request(1000)


def test_work_of_unknown_duration_needs_half_a_period():
    budget = TickBudget(0.01)
    assert budget.has_time(0.0051)
    assert not budget.has_time(0.0049)


def test_the_longest_of_the_last_durations_decides_until_it_leaves_the_window():
    budget = TickBudget(0.01)
    budget.record(0.002)
    budget.record(0.001)
    for _ in range(30):
        budget.record(0.001)
    # The initial guess has left the window by now, the 2 ms have not.
    assert budget.has_time(0.0021)
    assert not budget.has_time(0.0019)
    budget.record(0.001)
    assert budget.has_time(0.0011)


def test_work_longer_than_a_period_never_fits():
    budget = TickBudget(0.01)
    budget.record(0.02)
    assert not budget.has_time(0.01)
