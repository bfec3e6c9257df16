# SPDX-License-Identifier: Apache-2.0
"""Each mistake in a contract is one line that names the file, the key, and how to fix it."""

import math

import pytest
from support.contract_changes import drop, put

from groot_ros.robot import ContractError, load_contract

JOINT = ("joints", "elbow_flex")
LIMITS = (*JOINT, "limits")
GRIPPER = ("joints", "gripper")
CAMERA = ("cameras", "front")
STATE = ("inputs", "state")
SOURCES = ("inputs", "sources")
ARM = ("outputs", "single_arm", 0)
SLIDE = {"type": "prismatic", "limits": {"velocity": 1.0, "acceleration": 1.0}}
MISTAKES = [
    (put("version", 3), "'version' must be at most 2, not 3"),
    (put("version", "2"), "'version' must be a whole number"),
    (drop("robot"), "'robot' is missing"),
    (put("robot", ""), "'robot' must be a non-empty string"),
    (put("robot", 101), "'robot' must be a non-empty string, not 101"),
    (drop("action_dt"), "'action_dt' is missing"),
    (put("action_dt", 0), "'action_dt' is 0, out of range [0.001, 1]"),
    (put("action_dt", "1/30"), "'action_dt' must be a number, not '1/30'"),
    (put("action_dt", True), "'action_dt' must be a number, not True"),
    (put("action_dt", math.inf), "'action_dt' must be finite"),
    (put("action_dt", None), "'action_dt' must be a number, not nothing"),
    (put("acton_dt", 0.1), "'acton_dt' is not a key here"),
    (put("groups", {}), "'groups' is not a key here"),
    (drop("joints"), "'joints' is missing"),
    (put("joints", {}), "'joints' must not be empty"),
    (put("joints", ["a"]), "'joints' must be a mapping of keys"),
    (put("joints", 3, {}), "joints: '3' must be a name"),
    (
        lambda c: c["joints"].update({f"j{i}": {} for i in range(300)}),
        "'joints' has 306 entries, at most 256 are supported",
    ),
    (put(*JOINT, None), "joints: 'elbow_flex' must be a mapping of keys, not nothing"),
    (put(*JOINT, "type", "ball"), "joints.elbow_flex: 'type' must be one of revolute, continuous"),
    (put(*JOINT, "position", [0, 1]), "joints.elbow_flex: 'position' is not a key here"),
    (drop(*LIMITS), "joints.elbow_flex: 'limits' is missing"),
    (drop(*LIMITS, "position"), "joints.elbow_flex.limits: 'position' is missing"),
    (put(*LIMITS, "position", [1.0]), "joints.elbow_flex.limits: 'position' must be two numbers"),
    (
        put(*LIMITS, "position", [2, 1]),
        "joints.elbow_flex.limits: 'position' must be [low, high] with low < high",
    ),
    (
        put(*LIMITS, "position", [-180, 180]),
        "joints.elbow_flex.limits: 'position' is [-180, 180], beyond two turns: give limits in rad",
    ),
    (put(*LIMITS, "position", [0, math.nan]), "joints.elbow_flex.limits: 'position' must be two"),
    (drop(*LIMITS, "velocity"), "joints.elbow_flex.limits: 'velocity' is missing"),
    (
        put(*LIMITS, "velocity", 1e9),
        "joints.elbow_flex.limits: 'velocity' is 1e+09, out of range [0.001, 100]",
    ),
    (
        put(*LIMITS, "acceleration", -1),
        "joints.elbow_flex.limits: 'acceleration' is -1, out of range [0.01, 10000]",
    ),
    (put(*LIMITS, "jerk", 0), "joints.elbow_flex.limits: 'jerk' is 0, out of range [0.1, 1e+06]"),
    (put(*LIMITS, "snap", 3), "joints.elbow_flex.limits: 'snap' is not a key here"),
    (
        put(*JOINT, {**SLIDE, "limits": {**SLIDE["limits"], "position": [0, 101]}}),
        "joints.elbow_flex.limits: 'position' is [0, 101], beyond 100 m: give limits in m",
    ),
    (
        put(*JOINT, "type", "continuous"),
        "joints.elbow_flex.limits: 'position' must not be given: a continuous joint turns",
    ),
    (put(*JOINT, "unit_in", 57.3), "joints.elbow_flex: 'unit_in' must be a mapping of keys"),
    (put(*JOINT, "unit_in", "grad"), "joints.elbow_flex: 'unit_in' must be one of rad, deg"),
    (put(*JOINT, "unit_out", "mm"), "joints.elbow_flex: 'unit_out' must be one of rad, deg"),
    (
        put(*JOINT, "unit_in", {"unit": "deg", "scale": 2}),
        "joints.elbow_flex.unit_in: 'scale' must not be given together with 'unit'",
    ),
    (put(*JOINT, "unit_out", {"scale": 0}), "joints.elbow_flex.unit_out: 'scale' must be greater"),
    (put(*JOINT, "unit_in", {"sign": 0}), "joints.elbow_flex.unit_in: 'sign' must be 1 or -1"),
    (put(*JOINT, "unit_in", {"zero": 0}), "joints.elbow_flex.unit_in: 'zero' is not a key"),
    (
        put(*JOINT, "unit_in", {"closed": 0, "open": 1}),
        "joints.elbow_flex: 'unit_in' gives the values of a closed and an open gripper: add",
    ),
    (drop(*GRIPPER, "unit_in", "open"), "joints.gripper.unit_in: 'open' is missing"),
    (
        put(*GRIPPER, "unit_in", "open", 0),
        "joints.gripper.unit_in: 'open' equals closed (0): give the values of both ends",
    ),
    (put(*GRIPPER, "gripper", "half", 0), "joints.gripper.gripper: 'half' is not a key"),
    (put(*GRIPPER, "gripper", 3), "joints.gripper: 'gripper' must be a mapping of keys"),
    (drop(*GRIPPER, "gripper", "closed"), "joints.gripper.gripper: 'closed' is missing"),
    (
        put(*GRIPPER, "gripper", "open", -0.17),
        "joints.gripper.gripper: 'open' equals closed (-0.17): give the positions of both",
    ),
    (
        put(*GRIPPER, "gripper", "open", 12),
        "joints.gripper.gripper: 'open' is 12, outside the position limits [-0.17, 1.75]",
    ),
    (drop("inputs"), "'inputs' is missing"),
    (drop(*STATE), "inputs: 'state' is missing"),
    (put("inputs", "joint_states", []), "inputs: 'joint_states' is not a key"),
    (put(*STATE, "single_arm", []), "inputs.state: 'single_arm' must be a list with at least one"),
    (put(*STATE, "gripper", 0, "gripper"), "inputs.state: 'gripper[0]' must be a mapping of keys"),
    (
        put(*STATE, "gripper", 0, {"joint": "elbow"}),
        "inputs.state.gripper[0]: 'joint' names 'elbow', which is not under 'joints'",
    ),
    (
        put(*STATE, "gripper", 0, {"joint": "gripper", "source": "hand"}),
        "inputs.state.gripper[0]: 'source' is 'hand', which is not under 'sources': arm",
    ),
    (
        put(*STATE, "gripper", [{"joint": "gripper"}, {"joint": "gripper"}]),
        "inputs.state: 'gripper' lists joint 'gripper' more than once",
    ),
    (put(*SOURCES, {}), "inputs: 'sources' must not be empty"),
    (drop(*SOURCES, "arm", "topic"), "inputs.sources.arm: 'topic' is missing"),
    (put(*SOURCES, "arm", "rate", -1), "inputs.sources.arm: 'rate' must be at least 0"),
    (put(*SOURCES, "arm", "stamp", "now"), "inputs.sources.arm: 'stamp' must be one of header"),
    (put(*SOURCES, "arm", "latency", -1), "inputs.sources.arm: 'latency' is -1, out of range"),
    (put(*SOURCES, "arm", "hz", 3), "inputs.sources.arm: 'hz' is not a key"),
    (put(*SOURCES, "arm", "joints", ["x"]), "inputs.sources.arm: 'joints' names 'x', which is not"),
    (
        put(*SOURCES, "hand", {"topic": "hand"}),
        "inputs.state.single_arm[0]: 'source' is missing",
    ),
    (drop("outputs"), "'outputs' is missing"),
    (put("outputs", {}), "'outputs' must have at least one group that moves a joint"),
    (put("outputs", "gripper", []), "outputs: 'gripper' must be a list with at least one entry"),
    (drop(*ARM, "joints"), "outputs.single_arm[0]: 'joints' is missing"),
    (drop(*ARM, "controller"), "outputs.single_arm[0]: 'controller' is missing"),
    (put(*ARM, "joints", ["elbow"]), "outputs.single_arm[0]: 'joints' names 'elbow', which is not"),
    (put(*ARM, "gain", 2), "outputs.single_arm[0]: 'gain' is not a key"),
    (
        put(*ARM, "controller", "arm"),
        "outputs.single_arm[0]: 'controller' is 'arm', which is not under 'controllers'",
    ),
    (
        put(*ARM, "controller", "gripper_controller"),
        "outputs.single_arm[0]: 'controller' is 'gripper_controller', but joint 'shoulder_pan' "
        "belongs to 'arm_controller'",
    ),
    (
        put("outputs", "twice", [{"controller": "gripper_controller", "joints": ["gripper"]}]),
        "outputs.twice[0]: 'joints' names 'gripper', which group 'gripper' moves already",
    ),
    (put(*ARM, "columns", [0, 1]), "outputs.single_arm[0]: 'columns' has 2 entries for 5 joints"),
    (put(*ARM, "columns", []), "outputs.single_arm[0]: 'columns' must list at least one column"),
    (put(*ARM, "columns", [0, 0]), "outputs.single_arm[0]: 'columns' must list at least one"),
    (put(*ARM, "columns", [-1]), "outputs.single_arm[0]: 'columns' must count from 0 to 255"),
    (put(*ARM, "map", "copy"), "outputs.single_arm[0]: 'map' must be a mapping of keys"),
    (put(*ARM, "map", {"type": "max"}), "outputs.single_arm[0].map: 'type' must be one of copy"),
    (put(*ARM, "map", {"scale": 2}), "outputs.single_arm[0].map: 'scale' is not a key here"),
    (
        put(*ARM, "map", {"type": "affine", "scale": 0}),
        "outputs.single_arm[0].map: 'scale' must not be 0: the joint would never move",
    ),
    (put("ignore", "legs"), "'ignore' must be a list of names"),
    (put("ignore", ["legs"]), "'ignore' lists 'legs', which is not GROUP.COLUMN"),
    (put("ignore", ["gripper.0"]), "'ignore' lists gripper.0, which 'outputs' uses"),
    (put("ignore", ["gripper.*"]), "'ignore' lists gripper.*, which 'outputs' uses"),
    (drop("cameras"), "'cameras' is missing"),
    (drop(*CAMERA, "topic"), "cameras.front: 'topic' is missing"),
    (put(*CAMERA, "topic", ["a"]), "cameras.front: 'topic' must be a non-empty string"),
    (
        put(*CAMERA, "topic", "front image"),
        "cameras.front: 'topic' must be a topic name, not 'front image'",
    ),
    (
        put(*CAMERA, "topic", "0/image"),
        "cameras.front: 'topic' must be a topic name, not '0/image'",
    ),
    (put(*CAMERA, "topic", "a//b"), "cameras.front: 'topic' must be a topic name, not 'a//b'"),
    (
        put(*CAMERA, "encoding", "rgb16"),
        "cameras.front: 'encoding' is 'rgb16', which is not decoded: set the driver to rgb8",
    ),
    (
        put(*CAMERA, "encoding", "8UC3"),
        "cameras.front: 'encoding' is '8UC3', which is not decoded: it does not name the order of "
        "the channels: state bgr8 (OpenCV's order) or rgb8",
    ),
    (
        put(*CAMERA, "encoding", "colour"),
        "cameras.front: 'encoding' is 'colour', which is not decoded: state one of rgb8",
    ),
    (put(*CAMERA, "stamp", "exposure"), "cameras.front: 'stamp' must be one of header, arrival"),
    (put(*CAMERA, "latency", -0.1), "cameras.front: 'latency' is -0.1, out of range [0, 10]"),
    (put(*CAMERA, "latency", 1e6), "cameras.front: 'latency' is 1e+06, out of range [0, 10]"),
    (drop(*CAMERA, "rate"), "cameras.front: 'rate' is missing"),
    (put(*CAMERA, "rate", 0), "cameras.front: 'rate' must be greater than 0"),
    (put(*CAMERA, "fps", 30), "cameras.front: 'fps' is not a key"),
    (
        put(*CAMERA, "topic", "wrist/image_raw"),
        "'cameras' uses topic 'wrist/image_raw' more than once",
    ),
    (drop("controllers"), "'controllers' is missing"),
    (put("controllers", []), "'controllers' must be a list with at least one entry"),
    (drop("controllers", 0, "name"), "controllers[0]: 'name' is missing"),
    (put("controllers", 0, "type", "pid"), "controllers[0]: 'type' must be one of "),
    (put("controllers", 0, "topic", "a b"), "controllers[0]: 'topic' must be a topic name"),
    (
        put("controllers", 1, "joints", ["thumb"]),
        "controllers[1]: 'joints' names 'thumb', which is not under",
    ),
    (put("controllers", 0, "interpolation", "spline"), "controllers[0]: 'interpolation' must be"),
    (put("controllers", 0, "gains", {}), "controllers[0]: 'gains' is not a key"),
    (
        lambda c: c["controllers"][0]["joints"].remove("wrist_roll"),
        "outputs.single_arm[0]: 'controller' is 'arm_controller', which does not list joint "
        "'wrist_roll'",
    ),
    (
        put("controllers", 1, "joints", ["gripper", "wrist_roll"]),
        "'controllers' lists joint 'wrist_roll' in more than one entry",
    ),
    (
        put("controllers", 1, "topic", "arm_controller/joint_trajectory"),
        "'controllers' uses topic 'arm_controller/joint_trajectory' more than once",
    ),
    (
        put("controllers", 1, "name", "arm_controller"),
        "'controllers' uses name 'arm_controller' more than once",
    ),
]


@pytest.mark.parametrize(("change", "problem"), MISTAKES, ids=[problem for _, problem in MISTAKES])
def test_a_mistake_names_the_file_and_the_key(load_changed, tmp_path, change, problem):
    with pytest.raises(ContractError) as error:
        load_changed(change)
    message = str(error.value)
    assert message.startswith(f"{tmp_path}/robot.yaml: {problem}")
    assert "\n" not in message


def test_the_error_of_a_misspelt_key_lists_the_known_keys(load_changed):
    with pytest.raises(ContractError, match=r"known: gripper, limits, type, unit_in") as error:
        load_changed(lambda c: c["joints"]["gripper"].update(griper={}))
    assert "'griper' is not a key here" in str(error.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must be a mapping of keys, not nothing"),
        ("- a\n", "must be a mapping of keys, not ['a']"),
        ("a: [1,\n", "is not valid YAML"),
        ("a: 1\nb: 2\na: 3\n", "key 'a' is given twice"),
        ("joints:\n  x: {position: [0, 1], position: [0, 2]}\n", "key 'position' is given twice"),
    ],
)
def test_a_file_that_is_not_a_contract_is_one_line(tmp_path, text, problem):
    path = tmp_path / "robot.yaml"
    path.write_text(text)
    with pytest.raises(ContractError) as error:
        load_contract(path)
    assert str(error.value).startswith(f"{path}: ")
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_excessive_nesting_is_one_line(tmp_path):
    path = tmp_path / "deep.yaml"
    path.write_text("a: " + "[" * 5000 + "]" * 5000, encoding="utf-8")
    with pytest.raises(ContractError) as caught:
        load_contract(path)
    assert str(caught.value).startswith(f"{path}: is not valid YAML: ")
    assert "nest" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_repeated_key_is_found_by_its_line(tmp_path):
    path = tmp_path / "robot.yaml"
    path.write_text("a: 1\nb: 2\na: 3\n")
    with pytest.raises(ContractError, match="line 3"):
        load_contract(path)


def test_yaml_anchors_may_be_merged_and_overridden(tmp_path, so101):
    limits = "position: [-1.0, 1.0], velocity: 1.0, acceleration: 1.0"
    path = tmp_path / "robot.yaml"
    path.write_text(
        f"version: 2\nrobot: two\naction_dt: 0.1\njoints:\n  a: {{limits: &a {{{limits}}}}}\n"
        "  b: {limits: {<<: *a, velocity: 2.0}}\n"
        "inputs: {state: {}, sources: {all: {topic: joint_states}}}\n"
        "outputs: {arm: [{controller: arm, joints: [a, b]}]}\n"
        "cameras: {front: {topic: image, rate: 30}}\n"
        "controllers: [{name: arm, joints: [a, b]}]\n"
    )
    assert load_contract(path).joints["b"].limits.velocity == 2.0


def test_twenty_thousand_joints_are_rejected_before_they_are_built(tmp_path):
    path = tmp_path / "robot.yaml"
    limits = "{limits: {position: [-1, 1], velocity: 1, acceleration: 1}}"
    path.write_text("joints:\n" + "".join(f"  j{i}: {limits}\n" for i in range(20_000)))
    with pytest.raises(ContractError, match=r"which is no configuration|at most 1,000,000"):
        load_contract(path)


def test_aliases_that_grow_exponentially_are_rejected(tmp_path):
    path = tmp_path / "robot.yaml"
    lines = ["a0: &a0 [1, 1]"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 40)
    ]
    path.write_text("\n".join(lines))
    with pytest.raises(ContractError, match="or 200 aliases"):
        load_contract(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ContractError, match=r"none\.yaml: no such file"):
        load_contract(tmp_path / "none.yaml")


def test_a_directory_is_not_a_contract(tmp_path):
    with pytest.raises(ContractError, match="cannot be read: Is a directory"):
        load_contract(tmp_path)


def test_a_binary_file_is_not_a_contract(tmp_path):
    path = tmp_path / "robot.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ContractError, match=r"robot\.yaml: is not a text file"):
        load_contract(path)


@pytest.mark.parametrize("name", ["a\nb", "x" * 100_000, "a\x7fb", "a\u202eb\u2028c"])
def test_a_name_of_any_characters_makes_a_short_message_of_one_line(load_changed, name):
    for change in (
        put("cameras", "front", "encoding", name),
        put("controllers", 0, "joints", [name]),
        put("joints", name, {"limits": {"position": [1.0, 0.0]}}),
    ):
        with pytest.raises(ContractError) as error:
            load_changed(change)
        assert str(error.value).isprintable()
        assert len(str(error.value)) <= 1000


@pytest.mark.parametrize("tag", ["!!bool x", "!!timestamp x", "!!int x", "!!float x", "!!null"])
def test_a_value_that_does_not_fit_its_tag_is_one_line_with_the_file(tmp_path, tag):
    path = tmp_path / "robot.yaml"
    path.write_text(f"version: {tag}")
    with pytest.raises(ContractError, match=r"robot\.yaml: "):
        load_contract(path)


@pytest.mark.parametrize(
    ("key", "name", "text"),
    [
        ("urdf", "other.urdf", "<robot><joint name='other' type='revolute'/></robot>"),
        ("urdf", "arm.xacro", "<robot xmlns:xacro='x'><xacro:include filename='a'/></robot>"),
        ("urdf", "arm.urdf", "<robot xmlns='x'><joint name='gripper' type='revolute'/></robot>"),
        ("joint_limits", "other.yaml", "joint_limits: {other: {max_velocity: 0.1}}"),
    ],
)
def test_a_file_of_limits_that_names_no_joint_of_the_robot_is_an_error(
    load_changed, tmp_path, key, name, text
):
    (tmp_path / name).write_text(text)
    with pytest.raises(ContractError, match=f"'{key}' names .*{name}, which has none of the"):
        load_changed(put(key, name))
