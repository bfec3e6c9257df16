"""The records' numbers are those of the messages, which other languages read."""

import pytest

from groot_ros import msg
from groot_ros.core import ActionKind, ExecutorStatus, RtcMode


@pytest.mark.parametrize("kind", ActionKind)
def test_action_kinds(kind):
    assert getattr(msg.ActionGroup, kind.name) == kind


@pytest.mark.parametrize("mode", RtcMode)
def test_rtc_modes(mode):
    assert getattr(msg.ActionChunk, f"RTC_{mode.name}") == mode


@pytest.mark.parametrize("status", ExecutorStatus)
def test_executor_statuses(status):
    assert getattr(msg.ExecutorState, status.name) == status
