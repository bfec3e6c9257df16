"""Pictures: headless, repeatable, of the size asked for, and bound to one thread."""

import threading

import numpy as np
import pytest

from groot_ros.sim import CUBES, CameraRenderer, SimulatedArm
from groot_ros.sim.task import place_cubes


@pytest.fixture(scope="module")
def arm():
    arm = SimulatedArm()
    arm.reset(cubes=place_cubes())
    return arm


@pytest.fixture(scope="module")
def renderer(arm):
    with CameraRenderer(arm.model, 320, 240) as renderer:
        yield renderer


def pixels_of(image, colour):
    channel = CUBES.index(colour)
    others = [c for c in range(3) if c != channel]
    strong = image[..., channel].astype(int)
    return (strong > 90) & (strong > 1.6 * image[..., others].max(axis=-1))


def test_a_picture_is_rgb_of_the_size_asked_for(arm, renderer):
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


def test_another_thread_is_told_to_make_its_own_renderer(arm, renderer):
    caught = []

    def draw():
        try:
            renderer.render(arm.scene, "front")
        except RuntimeError as error:
            caught.append(str(error))

    thread = threading.Thread(target=draw)
    thread.start()
    thread.join()
    assert "make a renderer there" in caught[0]


def test_a_renderer_of_another_thread_draws_the_same(arm, renderer):
    drawn = []

    def draw():
        with CameraRenderer(arm.model, 320, 240) as own:
            drawn.append(own.render(arm.scene, "front"))

    thread = threading.Thread(target=draw)
    thread.start()
    thread.join()
    assert (drawn[0] == renderer.render(arm.scene, "front")).all()
