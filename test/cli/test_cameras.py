# SPDX-License-Identifier: Apache-2.0
"""`groot-ros cameras`: exit statuses and output, with cameras that deliver given pictures."""

import json

import numpy as np
import pytest
from PIL import Image

from groot_ros.bridge import camera_capture
from groot_ros.bridge.camera_capture import Capture, CapturedFrame, camera_info_topic, capture
from groot_ros.cli.main import main
from groot_ros.core.share import robot_path
from groot_ros.robot import load_contract
from groot_ros.vision.camera_reference import Intrinsics

CONTRACT = load_contract(robot_path("so101"))
POSE = dict.fromkeys(CONTRACT.joints, 0.1)


def picture(dx=0, dy=0):
    """Boxes on a wall; the contents are moved to the right and down by whole pixels."""
    rng = np.random.default_rng(3)
    wall = np.full((480, 640, 3), 110, np.uint8)
    for _ in range(250):
        x, y, w, h = (int(v) for v in rng.integers((0, 0, 10, 10), (620, 460, 60, 60)))
        wall[y : y + h, x : x + w] = rng.integers(40, 200)
    return wall[100 - dy : 340 - dy, 100 - dx : 420 - dx].copy()


class Robot:
    """Pictures of the cameras; tests change them between two commands."""

    def __init__(self):
        self.received = self.showing()

    @staticmethod
    def showing(front=(0, 0), joints=None, lens=None):
        frames = {
            "front": CapturedFrame(picture(*front), 1, "/front/image_raw"),
            "wrist": CapturedFrame(picture(), 1, "/wrist/image_raw"),
        }
        infos = {} if lens is None else {"front": lens}
        return Capture(frames, {}, POSE if joints is None else joints, infos)


@pytest.fixture
def robot(monkeypatch):
    robot = Robot()
    monkeypatch.setattr(camera_capture, "capture", lambda *_: robot.received)
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "unused")
    return robot


@pytest.fixture
def run(tmp_path, capsys):
    """Return a function: arguments -> (exit status, standard output, standard error)."""

    def run(*arguments):
        directory = ("--reference-directory", str(tmp_path / "references"))
        status = main(["cameras", *arguments, *directory])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_cameras_that_stand_still_are_within_the_limit(robot, run):
    assert run("save")[0] == 0
    status, out, _ = run("check")
    assert status == 0
    assert "ok: front: within 4.0 px of the reference (0.0 px)" in out
    assert "ok: wrist:" in out


def test_a_moved_camera_is_reported_with_the_way_back(robot, run, tmp_path):
    run("save")
    robot.received = robot.showing(front=(8, -6))
    status, out, _ = run("check", "--out", str(tmp_path / "out"))
    assert status == 1
    assert (
        "moved: front: moved by 10.0 px: turn the camera 8.0 px to the right and 6.0 px up" in out
    )
    with Image.open(tmp_path / "out" / "front.png") as drawn:
        assert drawn.size == (320, 258)
    assert (tmp_path / "out" / "wrist.png").is_file()


def test_json_has_the_shift_and_with_camera_info_the_angle(robot, run):
    robot.received = robot.showing(lens=Intrinsics(600.0, 600.0, 320))
    saved = json.loads(run("save", "--json")[1])
    assert saved["cameras"] == ["front", "wrist"]
    robot.received = robot.showing(front=(8, 0))
    status, out, _ = run("check", "--json")
    front, wrist = json.loads(out)["cameras"]
    assert status == 1
    assert (front["status"], wrist["status"]) == ("moved", "ok")
    assert (front["dx"], front["dy"]) == pytest.approx((8.0, 0.0), abs=0.2)
    assert front["degrees"][0] == pytest.approx(0.76, abs=0.02)
    assert wrist["degrees"] is None


def test_the_limit_can_be_changed(robot, run):
    run("save")
    robot.received = robot.showing(front=(8, 0))
    assert run("check", "--max-camera-shift", "10")[0] == 0
    status, _, error = run("check", "--max-camera-shift", "0")
    assert status == 2
    assert "max_camera_shift" in error


def test_a_camera_on_the_arm_is_not_compared_in_another_pose(robot, run):
    run("save")
    robot.received = robot.showing(joints={**POSE, "elbow_flex": 0.6})
    status, out, _ = run("check")
    assert status == 4
    assert "ok: front" in out
    assert "not compared: wrist" in out
    assert "'elbow_flex' is 0.500 from the saved pose, more than 0.02" in out


def test_the_gripper_does_not_move_the_camera(robot, run):
    run("save")
    robot.received = robot.showing(joints={**POSE, "gripper": 1.0})
    assert run("check")[0] == 0


def test_a_camera_without_an_image_is_status_3(robot, run):
    run("save")
    del robot.received.frames["front"]
    status, out, _ = run("check")
    assert status == 3
    assert "no image: front: no image on front/image_raw within 5 s" in out


def test_nothing_is_saved_unless_all_cameras_and_joints_are_received(robot, run):
    robot.received = robot.showing(joints={})
    robot.received.problems["wrist"] = "/wrist/image_raw: sends bgr8"
    del robot.received.frames["wrist"]
    status, _, error = run("save")
    assert status == 3
    assert "/wrist/image_raw: sends bgr8" in error
    assert "no position of shoulder_pan" in error
    assert run("check")[0] == 2


def test_a_check_without_references_is_wrong_usage(robot, run):
    status, _, error = run("check")
    assert status == 2
    assert "has no references: save them with 'groot-ros cameras save'" in error


def test_references_are_replaced_only_on_request(robot, run):
    run("save")
    robot.received = robot.showing(front=(8, 0))
    status, _, error = run("save")
    assert status == 2
    assert "replace them with --replace" in error
    assert run("save", "--replace")[0] == 0
    assert run("check")[0] == 0


def test_another_namespace_has_its_own_references(robot, run):
    run("save", "--namespace", "left")
    status, _, error = run("check", "--namespace", "right")
    assert status == 2
    assert "another contract of robot so101" in error
    assert run("check", "--namespace", "/left")[0] == 0


def test_a_view_without_edges_is_warned_of_when_it_is_saved(robot, run):
    plain = np.full((240, 320, 3), 128, np.uint8)
    robot.received.frames["front"] = CapturedFrame(plain, 1, "/front/image_raw")
    status, _, error = run("save")
    assert status == 0
    assert "warning: front shows too few edges" in error
    status, out, _ = run("check")
    assert status == 4
    assert "unclear: front: cannot tell" in out


@pytest.mark.parametrize("timeout", ["0", "nan"])
def test_a_wrong_timeout_is_refused(robot, run, timeout):
    assert run("check", "--timeout", timeout)[0] == 2


@pytest.mark.parametrize(
    ("topic", "info"),
    [
        ("front/image_raw", "front/camera_info"),
        ("/cam/image_rect/compressed", "/cam/camera_info"),
        ("image", "camera_info"),
    ],
)
def test_camera_info_is_next_to_the_image(topic, info):
    assert camera_info_topic(topic) == info


@pytest.mark.ros
def test_images_joints_and_camera_info_of_a_running_robot_are_captured(ros_domain):
    import threading

    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import CameraInfo, JointState
    from sensor_msgs.msg import Image as ImageMsg

    from groot_ros.bridge import qos
    from groot_ros.bridge.graph_client import spin_until

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("driver", context=context, namespace="left")
    shown = picture()
    msg = ImageMsg(height=240, width=320, encoding="rgb8", step=960, data=shown.tobytes())
    msg.header.stamp.sec = 7
    wrong = ImageMsg(height=240, width=320, encoding="bgr8", step=960, data=shown.tobytes())
    info = CameraInfo(width=320, k=[300.0, 0.0, 160.0, 0.0, 310.0, 120.0, 0.0, 0.0, 1.0])
    joints = JointState(name=list(POSE), position=list(POSE.values()))
    sent = [
        (node.create_publisher(type(m), topic, qos.DRIVER), m)
        for topic, m in (
            ("front/image_raw", msg),
            ("front/camera_info", info),
            ("wrist/image_raw", wrong),
            ("joint_states", joints),
        )
    ]
    node.create_timer(0.05, lambda: [publisher.publish(m) for publisher, m in sent])
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    ended = threading.Event()
    thread = threading.Thread(target=spin_until, args=(executor, ended))
    thread.start()
    try:
        found = capture(CONTRACT, "left", 3.0)
    finally:
        ended.set()
        thread.join()
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert np.array_equal(found.frames["front"].picture, shown)
    assert found.frames["front"].stamp_ns == 7_000_000_000
    assert found.frames["front"].topic == "/left/front/image_raw"
    assert found.intrinsics == {"front": Intrinsics(300.0, 310.0, 320)}
    assert found.joints == pytest.approx(POSE)
    assert list(found.missing(CONTRACT)) == ["wrist"]
    assert "sends bgr8, the robot contract says rgb8" in found.missing(CONTRACT)["wrist"]
