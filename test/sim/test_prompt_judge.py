# SPDX-License-Identifier: Apache-2.0
"""Judge of scenes with words and pictures: what counts, when, and in which order."""

import numpy as np
import pytest

from groot_ros.sim import SimulatedArm
from groot_ros.sim.model import shipped_model
from groot_ros.sim.prompt_judge import PromptJudge
from groot_ros.sim.prompt_objects import ROBOT, Item
from groot_ros.sim.prompt_scene import Move, make_scene
from groot_ros.sim.prompt_table import PromptTable

BOWL, PLATE = Move("star", into="bowl"), Move("star", into="plate")


@pytest.fixture(scope="module")
def table():
    return PromptTable(SimulatedArm(0.004, shipped_model(ROBOT)))


def judge_of(table, *moves, in_order=False):
    """Show a scene with a star, a bowl and a plate, and return its judge."""
    places = {"star": (0.5, 0.0, 0.3), "bowl": (0.5, 0.25, 0.0), "plate": (0.5, -0.25, 0.0)}
    kinds = {
        "star": Item("star", "green"),
        "bowl": Item("bowl", "red"),
        "plate": Item("plate", "red"),
    }
    scene = make_scene(
        np.random.default_rng(0),
        text="",
        level="placement",
        items=kinds,
        places=places,
        pictures={},
        moves=moves,
        in_order=in_order,
    )
    table.show(scene)
    return PromptJudge(table)


def put_into(table, container):
    table.carry(table.place("star"), (*table.place(container)[:2], 0.0))


def watch(table, judge, seconds):
    for _ in range(round(seconds / 0.004)):
        table.arm.step()
        judge.observe()


def test_a_scene_is_fulfilled_once_its_objects_have_rested_where_they_belong(table):
    judge = judge_of(table, BOWL)
    watch(table, judge, 1.0)
    assert judge.succeeded_after is None
    put_into(table, "bowl")
    watch(table, judge, 1.0)
    assert judge.succeeded_after == pytest.approx(judge.seconds, abs=1.0)
    assert judge.succeeded_after > 1.0


def test_the_wrong_container_does_not_count(table):
    judge = judge_of(table, BOWL)
    put_into(table, "plate")
    watch(table, judge, 1.0)
    assert judge.succeeded_after is None


def test_moves_in_order_count_only_one_after_the_other(table):
    at_once = judge_of(table, BOWL, PLATE, in_order=True)
    put_into(table, "plate")
    watch(table, at_once, 1.0)
    assert at_once.succeeded_after is None
    put_into(table, "bowl")
    watch(table, at_once, 1.0)
    assert at_once.succeeded_after is None
    put_into(table, "plate")
    watch(table, at_once, 1.0)
    assert at_once.succeeded_after is not None


def test_a_new_scene_leaves_the_arm_where_it_is(table):
    judge_of(table, BOWL)
    bent = table.arm.home + 0.2
    table.arm.place_joints(bent)
    before = table.arm.positions
    judge_of(table, PLATE)
    np.testing.assert_array_equal(table.arm.positions, before)
    assert table.place("star") == pytest.approx((0.5, 0.0, 0.3), abs=1e-6)
