# SPDX-License-Identifier: Apache-2.0
"""Enumerations of the records have the values of the message constants, in both directions."""

import pytest

from groot_ros import msg
from groot_ros.bags.reader import MESSAGE_VERSION
from groot_ros.core import ActionKind, ControlSource, ExecutorStatus, ReasonCode, RtcMode


def constants(message: type, prefix: str) -> dict[str, object]:
    names = [n for n in dir(type(message)) if n.startswith(prefix)]
    return {n.removeprefix(prefix): getattr(message, n) for n in names}


@pytest.mark.parametrize("kind", ActionKind)
def test_action_kinds(kind):
    assert getattr(msg.ActionGroup, kind.name) == kind


@pytest.mark.parametrize("status", ExecutorStatus)
def test_executor_statuses(status):
    assert getattr(msg.ExecutorState, status.name) == status


@pytest.mark.parametrize(
    ("message", "prefix", "enumeration"),
    [
        (msg.ActionChunk, "RTC_", RtcMode),
        (msg.ExecutorState, "REASON_", ReasonCode),
        (msg.ExecutorState, "SOURCE_", ControlSource),
    ],
)
def test_prefixed_constants(message, prefix, enumeration):
    assert constants(message, prefix) == {member.name: member.value for member in enumeration}


@pytest.mark.parametrize(
    "message", [msg.ActionChunk, msg.CommittedTimeline, msg.ExecutorState, msg.PolicyStatus]
)
def test_all_messages_have_the_version_that_reports_are_made_of(message):
    assert message.MESSAGE_VERSION == MESSAGE_VERSION
