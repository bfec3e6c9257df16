# SPDX-License-Identifier: Apache-2.0
"""`groot-ros contract`: drafts, checks and conversions of robot contracts."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from support.tiny_checkpoint import TAG, write_tiny_checkpoint

from groot_ros.cli.main import main
from groot_ros.core.share import robot_path
from groot_ros.families.registry import find_family
from groot_ros.policy.robot_columns import missing_counterparts
from groot_ros.robot import load_contract
from groot_ros.robot.contract import parse_contract
from groot_ros.robot.draft import ColumnRange, Known, draft_contract
from groot_ros.robot.limit_sources import StatedLimits, read_urdf

VERSION_1 = Path(__file__).parents[1] / "data" / "so101_version_1.yaml"
JOINTS = ("pan", "lift", "elbow", "wrist", "roll")
SIDES = ("left", "right")


@pytest.fixture
def urdf(tmp_path: Path) -> Path:
    limit = '<limit lower="-1.5" upper="1.5" velocity="2.0" effort="1"/>'
    lines = [f'<joint name="{name}" type="revolute">{limit}</joint>' for name in JOINTS]
    finger = '<joint name="finger" type="prismatic"><limit lower="0" upper="0.04"/></joint>'
    path = tmp_path / "arm.urdf"
    path.write_text(f'<robot name="arm">{"".join(lines)}<joint type="fixed"/>{finger}</robot>')
    return path


def test_a_draft_fits_the_checkpoint_and_names_what_to_check(tmp_path: Path, urdf: Path) -> None:
    checkpoint = write_tiny_checkpoint(tmp_path / "checkpoint")
    out = tmp_path / "arm.yaml"
    options = ["--urdf", str(urdf), "--checkpoint", str(checkpoint), "--embodiment", TAG]
    assert main(["contract", "new", *options, "--out", str(out), "--no-topics"]) == 0
    robot = load_contract(out)
    assert robot.state_groups == {"single_arm": JOINTS, "gripper": ("finger",)}
    assert robot.joints["finger"].gripper is not None
    assert robot.joints["pan"].limits.velocity == 2.0
    summary = find_family(checkpoint).describe(checkpoint, embodiment=TAG, assets=None, base=None)
    assert missing_counterparts(summary.embodiments[0].spec, robot) == []
    for what in ("action_dt", "acceleration", "unit of the data set", "order of its columns"):
        assert re.search(f"{what}.*CHECK|CHECK.*{what}", out.read_text()), what
    assert main(["contract", "new", *options, "--out", str(out), "--no-topics"]) == 2


def test_units_of_a_draft_follow_from_the_ranges_of_the_training_data(urdf: Path) -> None:
    wide, narrow = ColumnRange(-90.0, 90.0), ColumnRange(-1.0, 1.0)
    arm = [wide, narrow, narrow, narrow, narrow]
    text = draft_contract(
        Known("arm", read_urdf(urdf), "arm.urdf", (), {"arm": arm, "hand": [ColumnRange(0, 100)]})
    )
    units = dict(re.findall(r"^  (\w+):\n(?:    .*\n)*?    unit_in: (.*?)  #", text, re.MULTILINE))
    assert (units["pan"], units["lift"]) == ("deg", "rad")
    assert units["finger"] == "{closed: 0.0, open: 100.0}"


def test_a_draft_takes_topics_from_the_graph(urdf: Path) -> None:
    topics = {
        "/robot/joint_states": "sensor_msgs/msg/JointState",
        "/cam_wrist/image_raw": "sensor_msgs/msg/Image",
        "/cam_front/image_raw/compressed": "sensor_msgs/msg/CompressedImage",
        "/arm_controller/joint_trajectory": "trajectory_msgs/msg/JointTrajectory",
    }
    text = draft_contract(
        Known("arm", read_urdf(urdf), "arm.urdf", ("front", "wrist"), topics=topics)
    )
    assert "all: {topic: /robot/joint_states" in text
    assert "front: {topic: /cam_front/image_raw/compressed, encoding: jpeg" in text
    assert "wrist: {topic: /cam_wrist/image_raw, encoding: rgb8" in text
    assert "# also live: /arm_controller/joint_trajectory" in text


def test_a_draft_does_not_read_the_ghosts_of_running_nodes(urdf: Path) -> None:
    ghosts = ("/left/committed_joint_states", "/left/proposed_joint_states")
    topics = dict.fromkeys((*ghosts, "/left/joint_states"), "sensor_msgs/msg/JointState")
    text = draft_contract(Known("arm", read_urdf(urdf), "arm.urdf", topics=topics))
    assert "all: {topic: /left/joint_states" in text
    assert "committed_joint_states" not in text
    assert "proposed_joint_states" not in text


def test_more_columns_than_joints_are_ignored_and_marked(urdf: Path) -> None:
    legs = [ColumnRange(0.0, 1.0)] * 8
    text = draft_contract(Known("arm", read_urdf(urdf), "arm.urdf", action={"legs": legs}))
    assert "ignore: [legs.6, legs.7]" in text


def test_a_draft_finds_the_joints_of_each_group_by_their_names(tmp_path: Path) -> None:
    kinds = {"torso_lift": "prismatic", "pan": "revolute", "elbow": "revolute"}
    kinds |= {"wrist": "continuous", "left_finger": "prismatic", "right_finger": "prismatic"}
    path = tmp_path / "robo.urdf"
    limit = '<limit lower="0" upper="0.4" velocity="1"/>'
    lines = [f'<joint name="{name}" type="{kind}">{limit}</joint>' for name, kind in kinds.items()]
    path.write_text(f'<robot name="robo">{"".join(lines)}</robot>')
    turn, gap, percent = ColumnRange(-90, 90), ColumnRange(0, 0.4), ColumnRange(0, 100)
    state = {"arm": [turn] * 3, "torso": [gap], "hand": [gap, gap]}
    action = {"arm": [ColumnRange(-5, 5, relative=True)] * 3, "hand": [percent], "legs": [gap] * 4}
    out = tmp_path / "robo.yaml"
    out.write_text(draft_contract(Known("robo", read_urdf(path), str(path), (), state, action)))
    robot = load_contract(out)
    fingers = ("left_finger", "right_finger")
    assert robot.state_groups == {
        "arm": ("pan", "elbow", "wrist"),
        "torso": ("torso_lift",),
        "hand": fingers,
    }
    assert {name: group.joints for name, group in robot.action_groups.items()} == {
        "arm": ("pan", "elbow", "wrist"),
        "hand": fingers,
        "legs": (),
    }
    assert {c.name: c.joints for c in robot.controllers} == {
        "arm_controller": ("pan", "elbow", "wrist"),
        "hand_controller": fingers,
    }
    assert [name for name, joint in robot.joints.items() if joint.gripper] == list(fingers)
    assert robot.action_to_si("hand", [50.0]) == pytest.approx([0.2, 0.2])
    assert robot.joints["pan"].action_units == robot.joints["pan"].units
    assert robot.action_groups["hand"].width_problem(1) == ""


def test_a_draft_keeps_the_sides_of_two_arms_apart(tmp_path: Path) -> None:
    path = tmp_path / "two.urdf"
    names = [f"{side}_{part}" for part in ("lift", "elbow", "left_knuckle") for side in SIDES]
    limit = '<limit lower="0" upper="0.8" velocity="1"/>'
    lines = [f'<joint name="{name}" type="revolute">{limit}</joint>' for name in names]
    path.write_text(f'<robot name="two">{"".join(lines)}</robot>')
    one = ColumnRange(0, 0.8)
    groups = {"right_arm": [one] * 2, "left_arm": [one] * 2, "right_hand": [one]}
    out = tmp_path / "two.yaml"
    out.write_text(draft_contract(Known("two", read_urdf(path), str(path), (), groups, groups)))
    assert load_contract(out).state_groups == {
        "right_arm": ("right_lift", "right_elbow"),
        "left_arm": ("left_lift", "left_elbow"),
        "right_hand": ("right_left_knuckle",),
    }


def test_upgrading_keeps_meaning_comments_and_the_old_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "arm.yaml"
    before = VERSION_1.read_text().replace("robot: so101\n", "robot: so101\nmodel: arm.xml\n")
    path.write_text(before)
    assert main(["contract", "upgrade", str(path)]) == 0
    backup = tmp_path / "arm.yaml.version_1"
    assert backup.read_text() == before
    old, new = load_contract(backup), load_contract(path)
    assert replace(new, warnings=()) == replace(old, warnings=())
    assert new.model == tmp_path / "arm.xml"
    assert (len(old.warnings), new.warnings) == (1, ())
    assert path.read_text().startswith("# The SO-101 arm")
    assert main(["contract", "upgrade", str(path)]) == 2
    assert "is a contract of version 2 already" in capsys.readouterr().err


def test_a_conversion_never_overwrites_a_file(tmp_path: Path) -> None:
    path, out = tmp_path / "arm.yaml", tmp_path / "new.yaml"
    path.write_bytes(VERSION_1.read_bytes())
    out.write_text("mine")
    assert main(["contract", "upgrade", str(path), "--out", str(out)]) == 2
    assert (path.read_bytes(), out.read_text()) == (VERSION_1.read_bytes(), "mine")
    (tmp_path / "arm.yaml.version_1").write_text("mine")
    assert main(["contract", "upgrade", str(path)]) == 2
    assert path.read_bytes() == VERSION_1.read_bytes()


def test_check_prints_each_joint_with_what_reads_and_moves_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["contract", "check", str(robot_path("so101"))]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    expected = "gripper gripper -0.170 1.750 rad 3 gripper gripper gripper_controller"
    assert expected.split() in rows


def test_check_prints_what_is_ignored_and_how_inputs_are_dated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "arm.yaml"
    text = robot_path("so101").read_text()
    late = "rate: 50.0, stamp: arrival, latency: 0.01"
    path.write_text(text.replace("rate: 100.0", late) + "ignore: [legs.*]\n")
    assert main(["contract", "check", str(path)]) == 0
    out = capsys.readouterr().out
    assert "ignored columns of legs: *" in out
    assert "joint_states, 6 joints, 50 Hz, stamp arrival, latency 0.01 s" in out
    assert "camera front: front/image_raw, rgb8, 30 Hz, stamp header" in out


def test_check_fails_on_what_the_executor_s_configure_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "arm.yaml"
    path.write_text(robot_path("so101").read_text().replace("rate: 100.0", "rate: 1.0"))
    assert main(["contract", "check", str(path)]) == 1
    expected = f"error: {path}: 'inputs.sources.arm.rate' is 1 Hz: a joint state is 1.000 s old"
    assert expected in capsys.readouterr().err


def test_check_names_the_key_of_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "arm.yaml"
    path.write_text(robot_path("so101").read_text().replace("velocity: 3.0", "velocity: fast"))
    assert main(["contract", "check", str(path)]) == 2
    assert "joints.shoulder_pan.limits: 'velocity' must be a number" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["yes", "1", "a: b", "a #b", "[x]", "*a", "a,b", "a\nb", "%x", "1e3"]
)
def test_a_draft_is_readable_whatever_its_names_are(name: str) -> None:
    joints = {name: StatedLimits(-1e-5, 1e-5, 1.0, kind="prismatic")}
    span = [ColumnRange(0.0, 1.0)]
    text = draft_contract(Known(name, joints, f"/{name}.urdf", (name,), {name: span}, {name: span}))
    root = yaml.safe_load(text)
    assert root.pop("urdf") == f"/{name}.urdf"
    robot = parse_contract(root)
    assert robot.robot == name
    assert robot.state_groups == {name: (name,)}
    assert robot.joints[name].limits.upper == 1e-5
    assert tuple(robot.cameras) == (name,)


def test_a_draft_fills_in_limits_that_the_urdf_does_not_state() -> None:
    joints = {k: StatedLimits(kind=k) for k in ("revolute", "continuous", "prismatic")}
    text = draft_contract(Known("r", joints, "r.urdf", (), {}, {"arm": [ColumnRange(0, 1)] * 3}))
    root = yaml.safe_load(text)
    del root["urdf"]
    assert len(parse_contract(root).joints) == 3
    assert text.count("CHECK: position, velocity, acceleration") == 2


def test_a_joint_that_mimics_another_is_not_in_a_draft(tmp_path: Path, urdf: Path) -> None:
    mimic = '<joint name="finger_2" type="prismatic"><mimic joint="finger"/></joint>'
    urdf.write_text(
        urdf.read_text().replace('<joint name="finger"', mimic + '<joint name="finger"')
    )
    checkpoint = write_tiny_checkpoint(tmp_path / "checkpoint")
    out = tmp_path / "arm.yaml"
    options = ["--urdf", str(urdf), "--checkpoint", str(checkpoint), "--embodiment", TAG]
    assert main(["contract", "new", *options, "--out", str(out), "--no-topics"]) == 0
    assert "finger_2" not in load_contract(out).joints
