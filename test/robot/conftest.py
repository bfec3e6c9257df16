# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the shipped contract, and a loader of it with one change."""

from pathlib import Path

import pytest
import yaml

from groot_ros.robot import RobotContract, load_contract

SO101 = Path(__file__).parents[2] / "config" / "robots" / "so101.yaml"
SO101_VERSION_1 = Path(__file__).parents[1] / "data" / "so101_version_1.yaml"


@pytest.fixture(scope="session")
def so101() -> RobotContract:
    return load_contract(SO101)


@pytest.fixture
def load_changed(tmp_path):
    """Load the shipped contract after `change(contract as a dict)`, from <tmp>/robot.yaml."""
    return changed_loader(SO101, tmp_path)


@pytest.fixture
def load_changed_version_1(tmp_path):
    """Load the same contract in version 1 after a change."""
    return changed_loader(SO101_VERSION_1, tmp_path)


def changed_loader(contract: Path, tmp_path: Path):
    def load(change) -> RobotContract:
        value = yaml.safe_load(contract.read_text())
        change(value)
        path = tmp_path / "robot.yaml"
        path.write_text(yaml.safe_dump(value, sort_keys=False))
        return load_contract(path)

    return load
