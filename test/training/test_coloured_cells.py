# SPDX-License-Identifier: Apache-2.0
"""Descriptions of the cube pixels in each image cell."""

import numpy as np
import pytest

from groot_ros.sim import CameraRenderer, SimulatedArm
from groot_ros.sim.tasks.touch import place_cubes
from groot_ros.training.demo_data import describe_cells

GREY = (110, 120, 125)


def grey_image(height=56, width=84):
    return np.tile(np.array(GREY, np.uint8)[:, None, None], (1, height, width))


def test_an_image_without_cubes_is_described_as_zeros():
    described = describe_cells(grey_image()[None, None], 28)
    assert described.shape == (1, 6, 9)
    assert (described == 0).all()


def test_share_and_moments_give_the_position_of_a_colour():
    image = grey_image()
    image[:, 28:42, 70:84] = np.array([200, 30, 30])[:, None, None]
    share, down, right = describe_cells(image[None, None], 28)[0, 5].reshape(3, 3)[0]
    assert share == pytest.approx(0.25)
    assert down / share == pytest.approx(-0.25)
    assert right / share == pytest.approx(0.25)
    assert describe_cells(image[None, None], 28)[0, :5].any() == np.False_


def test_only_the_cubes_of_a_rendered_scene_are_found_not_the_orange_arm():
    arm = SimulatedArm()
    arm.reset(cubes=place_cubes())
    with CameraRenderer(arm.model, 140, 112) as renderer:
        image = renderer.render(arm.scene, "front")
    shares = describe_cells(image.transpose(2, 0, 1)[None, None], 28)[0].reshape(-1, 3, 3)[:, :, 0]
    assert ((shares.sum(0) > 0.05) & (shares.sum(0) < 0.5)).all()
