# SPDX-License-Identifier: Apache-2.0
"""config/robots/schema.json: generated, and of one mind with the reader."""

import copy
import json
import re

import jsonschema
import pytest
import yaml

from groot_ros.core.share import share_directory
from groot_ros.robot import ContractError
from groot_ros.robot.contract import parse_contract
from groot_ros.robot.schema import contract_schema, schema_path, schema_text

SHIPPED = sorted((share_directory() / "config" / "robots").glob("*.yaml"))
EXAMPLE = re.search(
    r"```yaml\n(.*?)```",
    (share_directory() / "docs" / "reference" / "robot_contract.md").read_text(encoding="utf-8"),
    re.DOTALL,
).group(1)
VALIDATOR = jsonschema.Draft202012Validator(contract_schema())


def test_the_file_is_up_to_date():
    text = schema_path().read_text(encoding="utf-8")
    assert text == schema_text(), "run: python -m groot_ros.robot.schema"


def test_the_schema_is_a_valid_schema():
    jsonschema.Draft202012Validator.check_schema(json.loads(schema_text()))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_contracts_follow_the_schema(path):
    VALIDATOR.validate(yaml.safe_load(path.read_text()))


def test_the_example_of_the_reference_page_follows_the_schema():
    VALIDATOR.validate(yaml.safe_load(EXAMPLE))


def objects(schema, place=""):
    """Yield (place, object schema) of all objects with fixed keys."""
    if isinstance(schema, dict):
        if schema.get("additionalProperties") is False:
            yield place, schema
        for key, part in schema.items():
            yield from objects(part, f"{place}/{key}")
    elif isinstance(schema, list):
        for index, part in enumerate(schema):
            yield from objects(part, f"{place}/{index}")


#: A wrong contract, and the part of it that the message of the reader names.
WRONG = [
    ("robot", 3),
    ("action_dt", 2.0),
    ("joints/shoulder/type", "ball"),
    ("joints/shoulder/limits/velocity", 0.0),
    ("joints/shoulder/limits/position", [1.0]),
    ("joints/shoulder/unit_in", "grad"),
    ("joints/gripper/gripper/closed", "shut"),
    ("inputs/sources/arm/stamp", "now"),
    ("inputs/sources/arm/topic", "a b"),
    ("inputs/state/arm", []),
    ("outputs/arm/0/columns", [300]),
    ("outputs/arm/1/map/type", "max"),
    ("ignore", ["legs"]),
    ("cameras/front/encoding", "rgb16"),
    ("table/x", [0.2]),
    ("table/tool_axis", "y"),
    ("table/approach", 2.0),
    ("table/symmetric", "cup"),
    ("controllers/0/interpolation", "spline"),
]


@pytest.mark.parametrize(("place", "value"), WRONG)
def test_schema_and_reader_reject_the_same_values(tmp_path, place, value):
    contract = changed(place, value)
    (tmp_path / "my_arm.urdf").write_text("<robot><joint name='wrist' type='continuous'/></robot>")
    (tmp_path / "joint_limits.yaml").write_text("joint_limits: {shoulder: {}}")
    assert not VALIDATOR.is_valid(contract)
    with pytest.raises(ContractError):
        parse_contract(contract, folder=tmp_path)


@pytest.mark.parametrize(
    "place",
    [
        "",
        "joints/shoulder",
        "joints/shoulder/limits",
        "inputs",
        "inputs/sources/arm",
        "inputs/state/arm/0",
        "outputs/arm/1",
        "outputs/arm/1/map",
        "cameras/front",
        "table",
        "controllers/0",
    ],
)
def test_the_schema_has_exactly_the_keys_of_the_reader(tmp_path, place):
    contract = changed(f"{place}/nonsense".strip("/"), 1)
    (tmp_path / "my_arm.urdf").write_text("<robot><joint name='wrist' type='continuous'/></robot>")
    (tmp_path / "joint_limits.yaml").write_text("joint_limits: {shoulder: {}}")
    with pytest.raises(ContractError, match="'nonsense' is not a key") as error:
        parse_contract(contract, folder=tmp_path)
    known = set(re.search(r"known: (.*)\)", str(error.value)).group(1).split(", "))
    assert known in [set(schema["properties"]) for _, schema in objects(contract_schema())]


def changed(place: str, value):
    contract = copy.deepcopy(yaml.safe_load(EXAMPLE))
    *path, key = place.split("/")
    part = contract
    for step in path:
        part = part[int(step) if isinstance(part, list) else step]
    part[key] = value
    return contract
