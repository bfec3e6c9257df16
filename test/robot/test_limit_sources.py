# SPDX-License-Identifier: Apache-2.0
"""Joint limits of other files: of each limit the tighter value is used."""

import math

import pytest

from groot_ros.robot import ContractError
from groot_ros.robot.limit_sources import StatedLimits, read_joint_limits, read_urdf, tightest

URDF = """<robot name="r">
  <joint name="shoulder_pan" type="revolute">
    <limit lower="-1.0" upper="9.0" effort="5" velocity="2.0"/>
    <safety_controller soft_lower_limit="-0.8" soft_upper_limit="8.0" k_velocity="1"/>
  </joint>
  <joint name="wrist_roll" type="continuous"><limit effort="5" velocity="0"/></joint>
  <joint name="fixed_one" type="fixed"/>
  <transmission name="t"><joint name="elbow_flex"/></transmission>
</robot>"""

JOINT_LIMITS = """
joint_limits:
  shoulder_pan:
    has_position_limits: true
    min_position: -1.5
    max_position: 0.7
    has_velocity_limits: true
    max_velocity: 2.5
    has_acceleration_limits: true
    max_acceleration: 4.0
    has_jerk_limits: true
    max_jerk: 90.0
  elbow_flex:
    has_velocity_limits: false
    max_velocity: 0.001
    has_jerk_limits: false
    max_jerk: 0.001
"""


@pytest.fixture
def write(tmp_path):
    def written(name: str, text: str):
        path = tmp_path / name
        path.write_text(text)
        return path

    return written


def test_a_urdf_gives_position_velocity_and_soft_limits(write):
    stated = read_urdf(write("r.urdf", URDF))
    assert stated["shoulder_pan"] == StatedLimits(-0.8, 8.0, 2.0, kind="revolute")
    assert stated["wrist_roll"] == StatedLimits(kind="continuous")
    assert "fixed_one" not in stated


def test_joint_limits_are_used_if_their_flag_is_set(write):
    stated = read_joint_limits(write("joint_limits.yaml", JOINT_LIMITS))
    assert stated["shoulder_pan"] == StatedLimits(-1.5, 0.7, 2.5, 4.0, 90.0)
    assert stated["elbow_flex"] == StatedLimits()


def test_the_tighter_of_two_limits_is_used(write, load_changed):
    write("r.urdf", URDF)
    write("joint_limits.yaml", JOINT_LIMITS)
    plain = load_changed(lambda value: None)
    tight = load_changed(
        lambda value: value.update(
            urdf="r.urdf",
            joint_limits="joint_limits.yaml",
            joints={n: {"type": "revolute", **j} for n, j in value["joints"].items()},
        )
    )
    limits = tight.joints["shoulder_pan"].limits
    assert (limits.lower, limits.upper) == (-0.8, 0.7)
    assert (limits.velocity, limits.acceleration, limits.jerk) == (2.0, 4.0, 90.0)
    assert plain.joints["shoulder_pan"].limits.jerk == math.inf
    for joint in ("elbow_flex", "wrist_roll", "gripper"):
        assert tight.joints[joint].limits == plain.joints[joint].limits


def test_without_stated_limits_nothing_is_bounded():
    assert tightest([]) == StatedLimits(-math.inf, math.inf, math.inf, math.inf, math.inf)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<robot", "is not a URDF"),
        (URDF.replace('"2.0"', '"fast"'), "'shoulder_pan': velocity must be a number"),
        (URDF.replace('"-1.0" upper="9.0"', '"7.0" upper="9.0"'), "does not overlap"),
    ],
)
def test_an_invalid_urdf_is_rejected_in_one_line(write, load_changed, text, problem):
    write("r.urdf", text)
    with pytest.raises(ContractError, match=problem) as caught:
        load_changed(lambda value: value.update(urdf="r.urdf"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("joint_limits: {shoulder_pan: {max_velocity: fast}}", "'max_velocity' must be a number"),
        ("joint_limits: {shoulder_pan: {has_velocity_limits: true}}", "'max_velocity' is missing"),
        ("joint_limits: {shoulder_pan: {max_velocity: 0.0}}", "has a limit of 0 or less"),
        ("{", "is not valid YAML"),
    ],
)
def test_invalid_joint_limits_are_rejected(write, load_changed, text, problem):
    write("limits.yaml", text)
    with pytest.raises(ContractError, match=problem):
        load_changed(lambda value: value.update(joint_limits="limits.yaml"))


def test_a_missing_file_is_named(load_changed):
    with pytest.raises(ContractError, match=r"nowhere\.urdf: cannot be read"):
        load_changed(lambda value: value.update(urdf="nowhere.urdf"))


def test_the_contract_may_limit_jerk_and_the_tighter_limit_is_used(write, load_changed):
    write("joint_limits.yaml", JOINT_LIMITS)

    def change(value):
        value["joint_limits"] = "joint_limits.yaml"
        for name, jerk in (("shoulder_pan", 200.0), ("elbow_flex", 300.0)):
            value["joints"][name]["limits"]["jerk"] = jerk

    joints = load_changed(change).joints
    assert [joints[name].limits.jerk for name in ("shoulder_pan", "elbow_flex")] == [90.0, 300.0]


@pytest.mark.parametrize("flag", ['"true"', "1", "yes please"])
def test_a_flag_that_is_no_flag_is_an_error_and_not_a_limit_that_is_ignored(write, flag):
    text = f"joint_limits: {{a: {{has_velocity_limits: {flag}, max_velocity: 0.1}}}}"
    with pytest.raises(ContractError, match="'has_velocity_limits' must be true or false"):
        read_joint_limits(write("joint_limits.yaml", text))


def test_a_joint_that_a_urdf_gives_twice_is_an_error(write):
    joint = '<joint name="a" type="continuous"/>'
    with pytest.raises(ContractError, match="joint 'a' is given twice"):
        read_urdf(write("r.urdf", f"<robot>{joint}{joint}</robot>"))


def test_an_unknown_encoding_of_a_urdf_is_named(write):
    with pytest.raises(ContractError, match="unknown encoding: klingon"):
        read_urdf(write("r.urdf", '<?xml version="1.0" encoding="klingon"?><robot/>'))


def test_entities_that_grow_exponentially_are_rejected(write):
    entities = '<!ENTITY e0 "ha">' + "".join(
        f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10)
    )
    with pytest.raises(ContractError, match=r"r\.urdf: is not a URDF"):
        read_urdf(write("r.urdf", f"<!DOCTYPE r [{entities}]><robot>&e9;</robot>"))
