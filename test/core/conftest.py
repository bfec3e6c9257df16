# SPDX-License-Identifier: Apache-2.0
"""Factories of valid records; a test makes one field invalid at a time."""

import numpy as np
import pytest

from groot_ros.core import ActionChunk, ActionGroup, ActionKind, CommittedTimeline


@pytest.fixture
def make_group():
    def make(**changes) -> ActionGroup:
        fields = {
            "kind": ActionKind.JOINT_POSITION,
            "name": "arm",
            "names": ("a", "b"),
            "units": ("rad", "rad"),
            "values": np.zeros((4, 2)),
        }
        return ActionGroup(**{**fields, **changes})

    return make


@pytest.fixture
def make_chunk(make_group):
    def make(**changes) -> ActionChunk:
        fields = {"stamp_ns": 10, "start_ns": 20, "dt": 0.1, "groups": (make_group(),)}
        return ActionChunk(**{**fields, **changes})

    return make


@pytest.fixture
def make_timeline():
    def make(**changes) -> CommittedTimeline:
        fields = {
            "stamp_ns": 1,
            "id": 1,
            "session": "s",
            "episode": 0,
            "chunk_id": 3,
            "start_ns": 1_000,
            "dt": 0.01,
            "joint_names": ("a", "b"),
            "positions": np.zeros((5, 2)),
            "velocities": np.zeros((5, 2)),
        }
        return CommittedTimeline(**{**fields, **changes})

    return make
