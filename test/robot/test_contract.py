# SPDX-License-Identifier: Apache-2.0
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.robot.fields import ContractError

ARM = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")


def test_the_so101_has_its_six_joints_in_order(so101):
    assert so101.robot == "so101"
    assert so101.joint_names == (*ARM, "gripper")
    assert {j.unit for j in so101.joints.values()} == {"rad"}


def test_its_step_is_a_thirtieth_of_a_second(so101):
    assert so101.action_dt == pytest.approx(1 / 30, abs=1e-9)


def test_its_groups_are_those_of_the_checkpoint(so101):
    assert so101.state_groups == {"single_arm": ARM, "gripper": ("gripper",)}
    assert so101.action_groups["single_arm"].joints == ARM
    assert so101.action_groups["gripper"].joints == ("gripper",)
    assert [j for j in so101.joints if so101.joints[j].gripper] == ["gripper"]


def test_its_one_joint_state_source_covers_every_joint(so101):
    (source,) = so101.sources
    assert (source.topic, source.joints) == ("joint_states", so101.joint_names)


def test_its_controllers_command_every_joint_once(so101):
    commanded = [joint for controller in so101.controllers for joint in controller.joints]
    assert sorted(commanded) == sorted(so101.joint_names)
    assert [c.interpolation for c in so101.controllers] == ["cubic", "linear"]


def test_its_arm_uses_degrees_in_the_model(so101):
    model = so101.state_to_model("single_arm", [[math.pi / 2, 0.0, -math.pi / 4, 0.1, -0.1]])
    assert model == pytest.approx(np.array([[90.0, 0.0, -45.0, 5.7295780, -5.7295780]]), abs=1e-6)


def test_its_gripper_is_closed_at_0_and_open_at_100(so101):
    assert so101.state_to_model("gripper", [[-0.17], [1.75]]) == pytest.approx(
        np.array([[0.0], [100.0]])
    )
    assert so101.action_to_si("gripper", [[50.0]]) == pytest.approx(np.array([[0.79]]))


@given(values=st.lists(st.floats(-3, 3), min_size=5, max_size=5))
def test_converting_to_model_units_and_back_changes_nothing(so101, values):
    back = so101.state_to_si("single_arm", so101.state_to_model("single_arm", values))
    assert back == pytest.approx(np.array(values), abs=1e-12)


def test_state_is_selected_by_name_and_other_joints_are_ignored(so101):
    positions = {name: float(i) for i, name in enumerate((*so101.joint_names, "extra"))}
    state = so101.select_state(dict(reversed(positions.items())))
    assert state["single_arm"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert state["gripper"].tolist() == [5.0]


def test_a_missing_joint_is_named(so101):
    with pytest.raises(KeyError, match="gripper"):
        so101.select_state(dict.fromkeys(ARM, 0.0))


def test_optional_keys_have_the_documented_defaults(load_changed):
    def change(contract):
        contract["cameras"]["front"] = {"topic": "front/image_raw", "rate": 30.0}
        contract["controllers"][0] = {"name": "arm", "joints": list(ARM)}
        contract["inputs"]["sources"] = {"all": {"topic": "joint_states"}}
        contract["outputs"]["single_arm"][0]["controller"] = "arm"
        del contract["joints"]["wrist_roll"]["unit_in"]
        del contract["joints"]["gripper"]["unit_in"]
        del contract["joints"]["gripper"]["gripper"]

    contract = load_changed(change)
    camera = contract.cameras["front"]
    assert (camera.encoding, camera.stamp, camera.latency_ns) == ("rgb8", "header", 0)
    assert contract.controllers[0].type == "joint_trajectory_controller"
    assert contract.controllers[0].topic == "arm/joint_trajectory"
    assert contract.controllers[0].interpolation == "cubic"
    (source,) = contract.sources
    assert source.joints == contract.joint_names
    assert (source.stamp, source.latency_ns, source.rate) == ("header", 0, 0.0)
    assert contract.joints["wrist_roll"].units.to_model(1.5) == 1.5
    assert contract.joints["gripper"].units.to_model(1.5) == 1.5
    assert contract.joints["gripper"].gripper is None


def test_a_forward_controller_has_its_own_default_topic(load_changed):
    def change(contract):
        contract["controllers"][1] = {
            "name": "hand",
            "type": "forward_command_controller",
            "joints": ["gripper"],
        }
        contract["outputs"]["gripper"][0]["controller"] = "hand"

    assert load_changed(change).controllers[1].topic == "hand/commands"


def test_a_prismatic_joint_is_in_metres_and_its_model_may_use_millimetres(load_changed):
    def change(contract):
        contract["joints"]["gripper"] = {
            "type": "prismatic",
            "limits": {"position": [0.0, 0.08], "velocity": 0.1, "acceleration": 1.0},
            "unit_in": "mm",
        }

    joint = load_changed(change).joints["gripper"]
    assert joint.unit == "m"
    assert joint.units.to_model(0.08) == pytest.approx(80.0)


def test_a_cameras_latency_is_stored_in_nanoseconds_and_jpeg_is_compressed(load_changed):
    def change(contract):
        contract["cameras"]["front"].update(latency=0.0215, encoding="jpeg", stamp="arrival")

    camera = load_changed(change).cameras["front"]
    assert (camera.latency_ns, camera.stamp, camera.compressed) == (21_500_000, "arrival", True)
    assert not load_changed(lambda _: None).cameras["front"].compressed


def test_two_joint_state_sources_may_divide_the_joints(load_changed):
    def change(contract):
        contract["inputs"]["sources"] = {
            "arm": {"topic": "arm/joint_states", "rate": 100},
            "hand": {"topic": "hand/joint_states", "stamp": "arrival", "latency": 0.02},
        }
        for group, source in (("single_arm", "arm"), ("gripper", "hand")):
            for entry in contract["inputs"]["state"][group]:
                entry["source"] = source

    arm, hand = load_changed(change).sources
    assert (arm.topic, arm.joints, arm.rate) == ("arm/joint_states", ARM, 100.0)
    assert (hand.joints, hand.stamp, hand.latency_ns) == (("gripper",), "arrival", 20_000_000)


def test_a_topic_of_the_speed_scaling_is_read(load_changed):
    def change(contract):
        contract["speed_scaling"] = {"topic": "/ur/speed", "scale": 0.01}

    topic = load_changed(change).speed_scaling
    assert (topic.topic, topic.type, topic.scale) == ("/ur/speed", "std_msgs/Float64", 0.01)
    assert topic.factor(SimpleNamespace(data=50.0)) == 0.5


def test_without_the_section_the_robot_does_not_report_its_speed_scaling(so101):
    assert so101.speed_scaling is None


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"topic": "a", "type": "std_msgs/String"}, "type"),
        ({"topic": "a", "scale": 0}, "scale"),
        ({"type": "std_msgs/Float64"}, "topic"),
        ({"topic": "a", "factor": 1}, "factor"),
    ],
)
def test_mistakes_in_the_section_of_the_speed_scaling_are_named(load_changed, section, problem):
    with pytest.raises(ContractError, match=problem):
        load_changed(lambda contract: contract.update(speed_scaling=section))


def test_a_copy_of_a_shipped_contract_keeps_its_model(load_changed, tmp_path):
    shipped = load_changed(lambda _: None).model
    assert shipped is not None
    assert shipped.is_file()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "so101.xml").write_text("<mujoco/>")
    assert load_changed(lambda _: None).model == tmp_path / "models" / "so101.xml"
    other = load_changed(lambda contract: contract.update(model="mine.xml"))
    assert other.model == tmp_path / "mine.xml"
