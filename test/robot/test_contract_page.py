# SPDX-License-Identifier: Apache-2.0
"""docs/reference/robot_contract.md: the example is valid; example and tables have every key."""

import re
from pathlib import Path

import pytest
import yaml

from groot_ros.core.config_reader import Fields
from groot_ros.robot.contract import load_contract, parse_contract
from groot_ros.robot.controller import controller_types, read_controller
from groot_ros.robot.joint import read_joint
from groot_ros.vision.encodings import COMPRESSED, ENCODINGS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "robot_contract.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXAMPLE = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL).group(1)
#: Mappings whose keys are names chosen by the user.
NAMED = ("joints", "cameras")


def keys(section: str) -> set[str]:
    """The keys in the tables of one section of the page."""
    body = re.search(rf"\n## {section}\n(.*?)(?=\n## |\Z)", TEXT, re.DOTALL).group(1)
    cells = re.findall(r"^\| (`.*?`) \|", body, re.MULTILINE)
    return {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}


@pytest.fixture
def folder(tmp_path):
    """Folder with the files that the example names."""
    (tmp_path / "my_arm.urdf").write_text("<robot><joint name='wrist' type='continuous'/></robot>")
    (tmp_path / "joint_limits.yaml").write_text("joint_limits: {shoulder: {max_velocity: 3.0}}")
    return tmp_path


def keys_of(value) -> set[str]:
    """All keys in nested mappings."""
    if isinstance(value, dict):
        return set(value).union(*map(keys_of, value.values()))
    return set()


def test_the_example_is_a_valid_contract(folder):
    contract = parse_contract(yaml.safe_load(EXAMPLE), folder=folder)
    assert len(contract.joints) == 7
    state = contract.state_to_model("arm", [[0.5, 1.0, 1.5708, 0.3]])
    assert state[0] == pytest.approx([500, 57.29578, 0, 0.3])
    assert contract.action_to_si("hand", [[40.0, 60.0, 7.0]])[0] == pytest.approx([0.04])
    assert contract.action_groups["legs"].all_ignored


def test_the_top_level_table_has_the_keys_of_the_example():
    assert keys("Top level") == set(yaml.safe_load(EXAMPLE))


def entries_of(section: str, value) -> list:
    """The mappings of the example that one section of the page describes."""
    if section == "outputs":
        return [entry for group in value["outputs"].values() for entry in group]
    if section == "inputs":
        state = [entry for group in value["inputs"]["state"].values() for entry in group]
        return [*value["inputs"]["sources"].values(), *state]
    if section == "table":
        return [value["table"]]
    return list(value[section].values() if section in NAMED else value[section])


SECTIONS = ["joints", "inputs", "outputs", "cameras", "table", "controllers"]


@pytest.mark.parametrize("section", SECTIONS)
def test_each_table_has_the_keys_of_the_example(section):
    own = {"sources", "state"} if section == "inputs" else set()
    entries = entries_of(section, yaml.safe_load(EXAMPLE))
    assert keys(section) == own.union(*map(keys_of, entries))


@pytest.mark.parametrize("section", SECTIONS)
def test_the_tables_have_every_key_that_is_read(section, folder):
    value = yaml.safe_load(EXAMPLE)
    entries_of(section, value)[0]["nonsense"] = 1
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump(value))
    with pytest.raises(ValueError, match="'nonsense' is not a key") as error:
        load_contract(path)
    known = set(re.search(r"known: (.*)\)", str(error.value)).group(1).split(", "))
    assert known <= keys(section)


def test_the_cameras_table_lists_every_encoding():
    row = re.search(r"^\| `encoding` \| (.*?) \|", TEXT, re.MULTILINE).group(1)
    listed = re.findall(r"`(\w+)`", row)
    assert listed == [*(encoding.name for encoding in ENCODINGS), *COMPRESSED]


def test_the_section_on_grippers_shows_and_explains_every_key():
    section = TEXT[TEXT.index("## Grippers and digital outputs") :]
    example = re.search(r"```yaml\n(.*?)```", section, re.DOTALL).group(1)
    finger = {
        "limits": {"position": [0.0, 1.0], "velocity": 1.0, "acceleration": 1.0},
        "gripper": {"closed": 0.0, "open": 1.0},
    }
    joints = {n: read_joint(n, Fields(finger, n, strict=True)) for n in ("finger", "claw", "cup")}
    shown: set[str] = set()
    for entry in yaml.safe_load(example)["controllers"]:
        read_controller(Fields(entry, "page", strict=True), joints)
        with pytest.raises(ValueError, match="'nonsense' is not a key") as error:
            read_controller(Fields({**entry, "nonsense": 1}, "page", strict=True), joints)
        known = re.search(r"known: (.*)\)", str(error.value)).group(1).split(", ")
        assert set(known) <= keys("controllers") | keys("Grippers and digital outputs")
        shown |= set(entry)
    assert keys("Grippers and digital outputs") - {"closed", "open"} <= shown | set(
        controller_types()
    )
    assert {t for t in controller_types() if t in TEXT} == set(controller_types())
