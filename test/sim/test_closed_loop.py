# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from groot_ros.sim import HOME, SimulatedArm
from groot_ros.sim.closed_loop import drive
from groot_ros.sim.tasks.touch import INSTRUCTIONS, TOUCH_HEIGHT, TouchExpert, place_cubes

EXPERT = TouchExpert(SimulatedArm().model)


def expert_policy(seed):
    arm = SimulatedArm()
    arm.reset(cubes=place_cubes(np.random.default_rng(seed)))
    goals = {text: EXPERT.goal(text, arm.cubes) for text in INSTRUCTIONS}
    return lambda images, joints, text: EXPERT.path(joints, goals[text])


def test_the_expert_reaches_every_cube_through_late_chunks():
    legs = drive(expert_policy(3), INSTRUCTIONS[:3], seconds=3.6, seed=3)
    assert [leg.instruction for leg in legs] == list(INSTRUCTIONS[:3])
    for leg in legs:
        assert leg.distance == pytest.approx(TOUCH_HEIGHT, abs=0.003)
    for leg in legs[1:]:
        assert (leg.travel >= 0.5).sum() >= 3


def test_a_policy_that_holds_does_not_travel_and_home_has_no_target():
    (leg,) = drive(lambda *_: np.tile(HOME, (16, 1)), ("go home",), seconds=0.96)
    assert np.isnan(leg.distance)
    assert leg.travel.max() < 0.01


def test_the_policy_receives_the_requested_views():
    seen = []

    def look(images, joints, text):
        seen.append((sorted(images), images["front"].shape, joints.shape, text))
        return np.tile(HOME, (16, 1))

    drive(look, ("touch the red cube",), seconds=0.48)
    assert seen == [(["front", "wrist"], (480, 640, 3), (6,), "touch the red cube")] * 2
