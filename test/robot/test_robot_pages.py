# SPDX-License-Identifier: Apache-2.0
"""docs/how-to/robots: every contract on the pages loads, and the simulator has its joints.

A block of YAML is a whole contract if it begins with `version`. The comment `contract: NAME` before
a block says that it replaces parts of a shipped contract.
"""

import re
import textwrap
from pathlib import Path

import pytest
import yaml

from groot_ros.core.share import robot_path
from groot_ros.robot.contract import load_contract, parse_contract
from groot_ros.sim.model import RobotModel, model_of

PAGES = sorted((Path(__file__).parents[2] / "docs/how-to/robots").glob("*.md"))
BLOCK = re.compile(
    r"(?:<!-- contract: (?P<base>\w+) -->\n\s*)?(?P<fence> *)```yaml\n(?P<text>.*?)```", re.DOTALL
)
BLOCKS = [
    pytest.param(match["base"], yaml.safe_load(textwrap.dedent(match["text"])), id=page.stem)
    for page in PAGES
    for match in BLOCK.finditer(page.read_text(encoding="utf-8"))
    if match["base"] or textwrap.dedent(match["text"]).startswith("version")
]


def test_the_pages_have_contracts_of_every_kind_of_robot():
    assert [page.stem for page in PAGES] == ["bimanual", "ros2_control", "so101", "ur_robotiq"]
    assert len(BLOCKS) == 5


@pytest.mark.parametrize(("base", "block"), BLOCKS)
def test_a_contract_loads_and_has_joints_of_its_model(base, block):
    folder = robot_path("so101").parent
    if base:
        shipped = yaml.safe_load(robot_path(base).read_text(encoding="utf-8"))
        joints = {**shipped["joints"], **block.get("joints", {})}
        block = {**shipped, **block, "joints": joints}
    contract = parse_contract(block, folder=folder)
    assert not contract.warnings
    model = RobotModel.load(model_of(contract))
    assert set(contract.joint_names) == set(model.joints)
    assert set(contract.cameras) == {model.mujoco.camera(i).name for i in range(model.mujoco.ncam)}


def test_the_page_of_the_ur_has_the_shipped_contract():
    page = next(block.values[1] for block in BLOCKS if "version" in block.values[1])
    shipped = load_contract(robot_path("ur5e_robotiq"))
    page["model"] = "models/ur5e_robotiq.xml"
    assert parse_contract(page, folder=robot_path("so101").parent) == shipped
