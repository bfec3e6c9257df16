# SPDX-License-Identifier: Apache-2.0
"""The cameras are compared with their references when the policy becomes active."""

from array import array

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import State
from sensor_msgs.msg import Image
from support.policy_stage import SO101, stages

from groot_ros.bridge.diagnosis import PolicyDiagnosis
from groot_ros.msg import CameraShift
from groot_ros.robot import load_contract
from groot_ros.vision.camera_reference import CameraReference, ReferenceFolder

pytestmark = [pytest.mark.ros, pytest.mark.slow]

CONTRACT = load_contract(SO101)
POSE = dict.fromkeys(CONTRACT.joints, 0.25)


@pytest.fixture
def stage(ros_domain):
    yield from stages()


def picture(dx=0):
    """Boxes on a wall; the contents are moved to the right by dx px."""
    rng = np.random.default_rng(3)
    wall = np.full((480, 640, 3), 110, np.uint8)
    for _ in range(250):
        x, y, w, h = (int(v) for v in rng.integers((0, 0, 10, 10), (620, 460, 60, 60)))
        wall[y : y + h, x : x + w] = rng.integers(40, 200)
    return wall[100:340, 100 - dx : 420 - dx].copy()


def message(pixels):
    height, width = pixels.shape[:2]
    data = array("B", pixels.tobytes())
    return Image(width=width, height=height, step=3 * width, encoding="rgb8", data=data)


def images(dx):
    return {"front": message(picture(dx)), "wrist": message(picture())}


def save(directory, namespace="", **poses):
    """Save references of these views with these poses."""
    folder = ReferenceFolder(directory, CONTRACT.fingerprint(namespace), CONTRACT.robot)
    folder.write(
        CameraReference(view, picture(), pose, 0, "rgb8", view) for view, pose in poses.items()
    )


def start(stage, directory, dx, *, away=0.0, **parameters):
    """Configure a node whose namespace has references of both cameras."""
    on = stage(images=images(dx), camera_reference_directory=directory, **parameters)
    lifted = {**POSE, "shoulder_lift": POSE["shoulder_lift"] + away}
    save(directory, on.node.get_namespace(), front=POSE, wrist=lifted)
    assert on.configure()
    return on


def result_of(status, view):
    return next((c for c in status.camera_shifts if c.name == view), None)


def test_a_moved_camera_is_logged_and_in_status_and_diagnostics(stage, tmp_path):
    on = start(stage, tmp_path, 8, away=0.3)
    assert on.activate()
    status = on.statuses.wait(lambda s: len(s.camera_shifts) == 2)
    front, wrist = result_of(status, "front"), result_of(status, "wrist")
    assert front.status == CameraShift.MOVED
    assert (front.dx, front.dy) == pytest.approx((8.0, 0.0), abs=0.3)
    assert front.limit == 4.0
    assert wrist.status == CameraShift.NOT_COMPARED
    assert "'shoulder_lift' is 0.300 from the saved pose" in wrist.text
    on.logs.wait(lambda log: "turn the camera 8.0 px to the right" in log.msg)
    status = on.statuses.wait(
        lambda s: s.lifecycle == State.PRIMARY_STATE_ACTIVE, after=len(on.statuses)
    )
    diagnosis = PolicyDiagnosis("policy_node").status(status, 60.0)
    assert diagnosis.level == DiagnosticStatus.WARN
    assert "front: moved by 8.0 px" in diagnosis.message
    assert "wrist: " not in diagnosis.message
    assert {"shift of front", "shift of wrist"} <= {v.key for v in diagnosis.values}


def test_refuse_keeps_the_policy_inactive_until_the_camera_is_back(stage, tmp_path):
    on = start(stage, tmp_path, 8, camera_shift_action="refuse")
    assert not on.activate()
    assert on.state() == State.PRIMARY_STATE_INACTIVE
    on.logs.wait(lambda log: "camera_shift_action is refuse" in log.msg)
    on.robot.image["front"] = message(picture())
    while not on.activate():
        # An image of before is still in the buffer.
        assert on.statuses.wait(after=len(on.statuses))
    status = on.statuses.wait(lambda s: len(s.camera_shifts) == 2, after=len(on.statuses))
    assert [c.status for c in status.camera_shifts] == [CameraShift.OK, CameraShift.OK]


def test_refuse_needs_an_image_of_each_camera_with_a_reference(stage, tmp_path):
    on = stage(images=images(0), camera_reference_directory=tmp_path, camera_shift_action="refuse")
    on.robot.silent.add("front")
    save(tmp_path, on.node.get_namespace(), front=POSE, wrist=POSE)
    assert on.configure()
    assert not on.activate()
    on.logs.wait(lambda log: "front: no image within 3 s" in log.msg)


def test_references_of_another_contract_are_not_used_and_that_is_logged(stage, tmp_path):
    on = stage(images=images(8), camera_reference_directory=tmp_path)
    save(tmp_path, "elsewhere", front=POSE, wrist=POSE)
    assert on.configure()
    assert on.activate()
    on.logs.wait(lambda log: "are of another contract of robot so101" in log.msg)
    assert not on.statuses.all()[-1].camera_shifts


def test_off_compares_nothing(stage, tmp_path):
    on = start(stage, tmp_path, 8, camera_shift_action="off")
    assert on.activate()
    status = on.statuses.wait(
        lambda s: s.lifecycle == State.PRIMARY_STATE_ACTIVE, after=len(on.statuses)
    )
    assert not status.camera_shifts
