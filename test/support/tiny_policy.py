# SPDX-License-Identifier: Apache-2.0
"""Observations for policies of the tiny checkpoint, and their chunks."""

from pathlib import Path

import numpy as np

from groot_ros.core import ActionChunk, Observation, PolicyConfig
from groot_ros.policy import Policy, load_policy
from support.tiny_checkpoint import TAG

STATE = {"single_arm": np.full((1, 5), 12.0), "gripper": np.full((1, 1), 50.0)}


def policy_config(checkpoint: Path | str, **fields) -> PolicyConfig:
    return PolicyConfig(
        **{"embodiment": TAG, "device": "cpu", "checkpoint": str(checkpoint), **fields}
    )


def load(checkpoint: Path | str, **options) -> Policy:
    """Load a policy on the CPU; `options` as in `load_policy`."""
    return load_policy(policy_config(checkpoint), **options)


def observation(state: dict | None = None, **changes) -> Observation:
    """Return drawn images of both views with STATE, or another state."""
    rng = np.random.default_rng(0)
    images = {
        view: rng.integers(0, 256, (1, 48, 64, 3), dtype=np.uint8) for view in ("front", "wrist")
    }
    given = {
        "stamp_ns": 5_000_000_000,
        "images": images,
        "state": STATE if state is None else state,
        "instruction": "Pick it up!",
    }
    return Observation(**{**given, **changes})


def group_values(chunk: ActionChunk, group: str) -> np.ndarray:
    """Return the targets [horizon, D] of one group."""
    return next(g.values for g in chunk.groups if g.name == group)
