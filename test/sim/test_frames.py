"""Frames are drawn beside the physics, each at the instant of its own scene."""

import numpy as np
import pytest

from groot_ros.sim import CameraRenderer, SimulatedArm
from groot_ros.sim.frames import FrameThread

SIZE = (64, 48)


@pytest.fixture(scope="module")
def arm():
    return SimulatedArm()


def test_each_picture_carries_the_instant_of_its_scene(arm):
    drawn = []
    frames = FrameThread(arm.model, ("front", "wrist"), SIZE, lambda *frame: drawn.append(frame))
    scenes = {}
    for stamp, pan in ((10, 0.0), (20, 0.8)):
        arm.place_joints([pan, 0.0, 0.0, 0.5, 0.0, 0.2])
        scenes[stamp] = arm.scene
        frames.offer(stamp, arm.scene, ("front", "wrist"))
        frames.finish()
    frames.close()
    assert [(camera, stamp) for camera, stamp, _ in drawn] == [
        ("front", 10),
        ("wrist", 10),
        ("front", 20),
        ("wrist", 20),
    ]
    with CameraRenderer(arm.model, *SIZE) as renderer:
        for camera, stamp, image in drawn:
            assert (image == renderer.render(scenes[stamp], camera)).all()


def test_an_unknown_camera_is_an_error_that_lists_the_cameras(arm):
    with pytest.raises(ValueError, match=r"no camera 'top' \(it has: front, wrist\)"):
        FrameThread(arm.model, ("top",), SIZE, print)


def test_what_goes_wrong_while_drawing_is_raised_at_the_next_offer(arm):
    def fail(*_):
        raise RuntimeError("no wire")

    frames = FrameThread(arm.model, ("front",), SIZE, fail)
    frames.offer(1, arm.scene, ("front",))
    with pytest.raises(RuntimeError, match="no wire"):
        frames.finish()
    with pytest.raises(RuntimeError, match="no wire"):
        frames.offer(2, arm.scene, ("front",))
    frames.close()


def test_closing_twice_is_fine_and_nothing_is_drawn_afterwards(arm):
    drawn = []
    frames = FrameThread(arm.model, ("front",), SIZE, lambda *frame: drawn.append(frame))
    frames.close()
    frames.close()
    frames.offer(1, np.array(arm.scene), ("front",))
    frames.finish()
    assert drawn == []
