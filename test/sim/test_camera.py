# SPDX-License-Identifier: Apache-2.0
"""Images: repeatable, of the requested size, bound to one thread; frames carry their stamps."""

import threading

import numpy as np
import pytest
from support.so101 import CUBES

from groot_ros.sim import CameraRenderer, SimulatedArm
from groot_ros.sim.camera import FrameThread


@pytest.fixture(scope="module")
def arm():
    return SimulatedArm()


@pytest.fixture(scope="module")
def renderer(arm):
    with CameraRenderer(arm.model, 320, 240) as renderer:
        yield renderer


def pixels_of(image, colour):
    channel = CUBES.index(colour)
    others = [c for c in range(3) if c != channel]
    strong = image[..., channel].astype(int)
    return (strong > 90) & (strong > 1.6 * image[..., others].max(axis=-1))


def test_labels_are_where_the_image_shows_the_labelled_bodies(arm, renderer):
    labels = np.zeros(arm.model.ngeom, np.uint16)
    for number, colour in enumerate(CUBES, start=300):
        labels[arm.model.body(f"{colour}_cube").geomadr[0]] = number
    found = renderer.render_labels(arm.scene, "front", labels)
    assert found.shape == (240, 320)
    assert found.dtype == np.uint16
    assert set(np.unique(found)) == {0, 300, 301, 302}
    image = renderer.render(arm.scene, "front")
    for number, colour in enumerate(CUBES, start=300):
        shown, labelled = pixels_of(image, colour), found == number
        assert (shown & labelled).sum() > 0.8 * labelled.sum()


def test_an_image_is_rgb_of_the_requested_size(arm, renderer):
    image = renderer.render(arm.scene, "front")
    assert image.shape == (240, 320, 3)
    assert image.dtype == np.uint8
    assert image.std() > 20


@pytest.mark.parametrize("camera", ["front", "wrist"])
@pytest.mark.parametrize("colour", CUBES)
def test_both_cameras_see_every_cube_from_home(arm, renderer, camera, colour):
    assert pixels_of(renderer.render(arm.scene, camera), colour).sum() > 40


def test_the_front_camera_sees_red_to_the_right_of_blue(arm, renderer):
    image = renderer.render(arm.scene, "front")
    columns = {c: np.argwhere(pixels_of(image, c))[:, 1].mean() for c in CUBES}
    assert columns["blue"] < columns["green"] < columns["red"]


def test_the_same_state_gives_the_same_pixels(arm, renderer):
    first = renderer.render(arm.scene, "wrist")
    renderer.render(arm.scene, "front")
    assert (renderer.render(arm.scene, "wrist") == first).all()


def test_use_in_another_thread_is_an_error_that_says_how_to_fix_it(arm, renderer):
    caught = []

    def render():
        try:
            renderer.render(arm.scene, "front")
        except RuntimeError as error:
            caught.append(str(error))

    thread = threading.Thread(target=render)
    thread.start()
    thread.join()
    assert "create a renderer in each thread" in caught[0]


def test_a_renderer_in_another_thread_gives_the_same_pixels(arm, renderer):
    rendered = []

    def render():
        with CameraRenderer(arm.model, 320, 240) as own:
            rendered.append(own.render(arm.scene, "front"))

    thread = threading.Thread(target=render)
    thread.start()
    thread.join()
    assert (rendered[0] == renderer.render(arm.scene, "front")).all()


SIZE = (64, 48)


@pytest.fixture(scope="module")
def moving_arm():
    return SimulatedArm()


def test_each_image_carries_the_stamp_of_its_scene(moving_arm):
    rendered = []
    frames = FrameThread(
        moving_arm.model, ("front", "wrist"), SIZE, lambda *frame: rendered.append(frame)
    )
    scenes = {}
    for stamp, pan in ((10, 0.0), (20, 0.8)):
        moving_arm.place_joints([pan, 0.0, 0.0, 0.5, 0.0, 0.2])
        scenes[stamp] = moving_arm.scene
        frames.offer(stamp, moving_arm.scene, ("front", "wrist"))
        frames.finish()
    frames.close()
    assert [(camera, stamp) for camera, stamp, _ in rendered] == [
        ("front", 10),
        ("wrist", 10),
        ("front", 20),
        ("wrist", 20),
    ]
    with CameraRenderer(moving_arm.model, *SIZE) as renderer:
        for camera, stamp, image in rendered:
            assert (image == renderer.render(scenes[stamp], camera)).all()


def test_an_unknown_camera_is_an_error_that_lists_the_cameras(moving_arm):
    with pytest.raises(ValueError, match=r"no camera 'top' \(it has: front, wrist\)"):
        FrameThread(moving_arm.model, ("top",), SIZE, print)


def test_an_exception_while_rendering_is_raised_at_the_next_offer(moving_arm):
    def fail(*_):
        raise RuntimeError("no publisher")

    frames = FrameThread(moving_arm.model, ("front",), SIZE, fail)
    frames.offer(1, moving_arm.scene, ("front",))
    with pytest.raises(RuntimeError, match="no publisher"):
        frames.finish()
    with pytest.raises(RuntimeError, match="no publisher"):
        frames.offer(2, moving_arm.scene, ("front",))
    frames.close()


def test_it_can_be_closed_twice_and_renders_nothing_afterwards(moving_arm):
    rendered = []
    frames = FrameThread(moving_arm.model, ("front",), SIZE, lambda *frame: rendered.append(frame))
    frames.close()
    frames.close()
    frames.offer(1, np.array(moving_arm.scene), ("front",))
    frames.finish()
    assert rendered == []
