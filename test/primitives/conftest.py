# SPDX-License-Identifier: Apache-2.0
"""Fixtures: the arm with the suction cup, and the same arm with a tool that may not be turned."""

from dataclasses import replace

import pytest

pytest.importorskip("mink", reason="the extra [vima] is not installed")

from groot_ros.core.share import robot_path
from groot_ros.primitives import ArmKinematics
from groot_ros.robot import RobotContract, load_contract


@pytest.fixture(scope="session")
def contract() -> RobotContract:
    return load_contract(robot_path("arm7_suction"))


@pytest.fixture(scope="session")
def cup(contract) -> ArmKinematics:
    return ArmKinematics(contract)


@pytest.fixture(scope="session")
def hand(contract) -> ArmKinematics:
    """The arm with a tool that is not symmetric."""
    return ArmKinematics(replace(contract, table=replace(contract.table, symmetric=False)))
