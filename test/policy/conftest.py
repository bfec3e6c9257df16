# SPDX-License-Identifier: Apache-2.0
"""A tiny checkpoint, its policy, and the robot contract of an SO-101; torch on one thread."""

from pathlib import Path

import pytest
from support.tiny_checkpoint import write_tiny_checkpoint
from support.tiny_policy import load
from support.torch_threads import one_thread

from groot_ros.policy import Policy
from groot_ros.robot import RobotContract, load_contract

__all__ = ["one_thread"]

CONTRACT = Path(__file__).resolve().parents[2] / "config" / "robots" / "so101.yaml"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint directory that tests do not change."""
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def policy(checkpoint: Path) -> Policy:
    return load(checkpoint)


@pytest.fixture(scope="session")
def robot() -> RobotContract:
    return load_contract(CONTRACT)
