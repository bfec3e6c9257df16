import numpy as np
import pytest

from groot_ros.sim import CameraRenderer, SimulatedArm
from groot_ros.sim.tasks.touch import place_cubes
from groot_ros.training.coloured_cells import describe_cells

GREY = (110, 120, 125)


def picture(height=56, width=84):
    return np.tile(np.array(GREY, np.uint8)[:, None, None], (1, height, width))


def test_a_picture_without_cubes_is_all_zero():
    described = describe_cells(picture()[None, None], 28)
    assert described.shape == (1, 6, 9)
    assert (described == 0).all()


def test_share_and_moments_say_where_a_colour_lies():
    image = picture()
    image[:, 28:42, 70:84] = np.array([200, 30, 30])[:, None, None]
    share, down, right = describe_cells(image[None, None], 28)[0, 5].reshape(3, 3)[0]
    assert share == pytest.approx(0.25)
    assert down / share == pytest.approx(-0.25)
    assert right / share == pytest.approx(0.25)
    assert describe_cells(image[None, None], 28)[0, :5].any() == np.False_


def test_each_cube_of_the_rendered_scene_is_found_and_the_orange_arm_is_not():
    arm = SimulatedArm()
    arm.reset(cubes=place_cubes())
    with CameraRenderer(arm.model, 140, 112) as renderer:
        image = renderer.render(arm.scene, "front")
    shares = describe_cells(image.transpose(2, 0, 1)[None, None], 28)[0].reshape(-1, 3, 3)[:, :, 0]
    assert ((shares.sum(0) > 0.05) & (shares.sum(0) < 0.5)).all()
