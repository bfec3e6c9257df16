import subprocess
import sys

import pytest

ASK = """
import os, threading
from groot_ros.nodes.realtime import ask_for_realtime
waiting = threading.Event()
threading.Thread(target=waiting.wait, daemon=True).start()
rejected = ask_for_realtime({priority})
threads = [int(t) for t in os.listdir("/proc/self/task")]
waiting.set()
fifo = [os.sched_getscheduler(t) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO for t in threads]
print(len(fifo), sum(fifo), rejected)
"""


def ask(priority: int, *before: str) -> list[str]:
    command = [*before, sys.executable, "-c", ASK.format(priority=priority)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip().split(" ", 2)


def test_every_thread_runs_ahead_of_others_or_the_reason_is_told():
    threads, fifo, *rejected = ask(20)
    assert int(threads) >= 2
    if rejected:
        assert "rtprio" in rejected[0]
        assert fifo == "0"
    else:
        assert fifo == threads


def test_a_priority_that_does_not_exist_is_a_mistake_not_a_rejection():
    with pytest.raises(subprocess.CalledProcessError):
        ask(1000)
