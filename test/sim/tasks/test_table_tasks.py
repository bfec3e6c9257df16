# SPDX-License-Identifier: Apache-2.0
"""Reach, push and pick_place: scenes, experts and judges."""

from dataclasses import replace

import numpy as np
import pytest

from groot_ros.sim import SimulatedArm
from groot_ros.sim.model import shipped_model
from groot_ros.sim.table import (
    BOWL_RADIUS,
    COLOURS,
    MODEL,
    PAN_AXIS,
    ROBOT,
    plain_look,
    random_look,
    show,
)
from groot_ros.sim.table_expert import STEP
from groot_ros.sim.tasks import chosen_tasks, default_task, load_table_task, table_task_names

TASKS = ("pick_place", "push", "reach")
CYCLES = 25


@pytest.fixture(scope="module")
def arm():
    return SimulatedArm(0.004, shipped_model(ROBOT))


def scene_of(task, seed, **options):
    return task.scene(np.random.default_rng([5, seed]), **options)


def run(task, scene, arm, expert=None, seconds=None, spoil=lambda step, arm: None):
    """Run an expert, or stand still without one; return the judge."""
    scene.apply(arm)
    judge = task.judge(arm.model, scene)
    command = arm.positions
    for step in range(round((seconds or task.seconds) / STEP)):
        following = command if expert is None else expert.next_command(command, arm)
        spoil(step, arm)
        for cycle in range(CYCLES):
            now = command + (cycle + 1) / CYCLES * (following - command)
            arm.command(now)
            arm.step()
            judge.observe(arm)
        command = following
        if judge.succeeded:
            break
    return judge


def test_the_tasks_with_experts_are_these_and_the_scenes_of_the_robot_are_theirs():
    assert table_task_names() == TASKS
    assert default_task(ROBOT) is load_table_task("pick_place")
    assert default_task("so101") is None
    with pytest.raises(ValueError, match=r"no task 'touch' with an expert \(tasks: pick_place, p"):
        load_table_task("touch")


@pytest.mark.parametrize("name", TASKS)
def test_the_expert_succeeds_in_12_scenes_and_touches_no_other_cube(arm, name):
    task = load_table_task(name)
    outcomes = []
    for seed in range(12):
        scene = scene_of(task, seed)
        judge = run(task, scene, arm, task.expert(arm.model, scene))
        outcomes.append((judge.succeeded, sorted(judge.wrong_touches)))
    assert outcomes == [(True, [])] * 12


@pytest.mark.parametrize("name", TASKS)
def test_an_arm_that_stands_still_fulfils_nothing_and_touches_nothing(arm, name):
    task = load_table_task(name)
    judge = run(task, scene_of(task, 0), arm, seconds=1.0)
    assert (judge.succeeded, judge.succeeded_after, judge.wrong_touches) == (False, None, set())


def test_touching_another_cube_first_is_no_success_and_is_counted(arm):
    task = load_table_task("reach")
    scene = scene_of(task, 1, instruction="touch the red cube")
    blue = replace(scene, instruction="touch the blue cube", colour="blue")
    judge = run(task, scene, arm, task.expert(arm.model, blue), seconds=3.0)
    assert not judge.succeeded
    assert judge.wrong_touches == {"blue"}


def test_pushing_to_the_other_side_is_no_success(arm):
    task = load_table_task("push")
    scene = scene_of(task, 2, instruction="push the green cube to the left")
    other = replace(scene, instruction="push the green cube to the right")
    judge = task.judge(arm.model, other)
    assert run(task, scene, arm, task.expert(arm.model, scene)).succeeded
    judge.observe(arm)
    assert not judge.succeeded
    moved = arm.cubes["green"][1] - scene.cubes["green"][1]
    assert moved >= 0.05


@pytest.mark.parametrize(
    ("name", "offset", "height"),
    # Where the hand goes down to, in m over the table; 1.5 cm cubes lie on it.
    [("reach", 0.0, 0.022), ("reach", 0.01, 0.022), ("push", 0.011, 0.01)],
)
def test_a_hand_that_is_a_centimetre_off_still_goes_down(arm, name, offset, height):
    task = load_table_task(name)
    scene = scene_of(task, 7)
    scene.apply(arm)
    expert = task.expert(arm.model, scene)
    above = np.array([0.2, 0.0, 0.05])
    at = expert.target(arm, above).point
    aside = expert.target(arm, np.array([at[0] + offset, at[1], 0.05]))
    assert aside.point[2] == pytest.approx(height, abs=0.002)
    np.testing.assert_allclose(aside.point[:2], at[:2], atol=1e-9)
    further = expert.target(arm, np.array([at[0] + 0.04, at[1], 0.05]))
    assert further.point[2] > 0.05


def test_a_push_goes_on_until_the_cube_is_far_enough_and_the_hand_stays_down(arm):
    task = load_table_task("push")
    scene = scene_of(task, 8)
    side = 1.0 if scene.instruction.endswith("left") else -1.0
    expert, heights, moved = task.expert(arm.model, scene), [], []

    def watch(_, own):
        moved.append(side * (own.cubes[scene.colour][1] - scene.cubes[scene.colour][1]))
        heights.append(own.data.site("fingertip").xpos[2])

    scene.apply(arm)
    command = arm.positions
    while not expert.done:
        following = expert.next_command(command, arm)
        watch(None, arm)
        for cycle in range(CYCLES):
            arm.command(command + (cycle + 1) / CYCLES * (following - command))
            arm.step()
        command = following
        assert len(moved) < 80, "the push does not end"
    began = next(i for i, way in enumerate(moved) if way > 0.005)
    assert max(heights[began:]) < 0.03
    assert 0.055 < moved[-1] < 0.09


def test_without_friction_the_cube_is_not_lifted(arm):
    task = load_table_task("pick_place")
    slippery = SimulatedArm(0.004, shipped_model(ROBOT))
    slippery.model.geom_friction[:] = 1e-4
    scene = scene_of(task, 3)
    highest = []

    def watch(_, own):
        highest.append(own.cubes[scene.colour][2])

    expert = task.expert(slippery.model, scene)
    judge = run(task, scene, slippery, expert, seconds=4.0, spoil=watch)
    assert not judge.succeeded
    assert max(highest) < 0.03


def test_a_cube_that_is_moved_away_during_the_grasp_is_grasped_at_its_new_place(arm):
    task = load_table_task("pick_place")
    scene = scene_of(task, 4)
    moved = []

    def spoil(_, own):
        near = np.linalg.norm((own.grasp_point - own.cubes[scene.colour])[:2]) < 0.03
        if not moved and near and own.grasp_point[2] < 0.05:
            own.shift_cube(scene.colour, (0.025, 0.0))
            moved.append(own.cubes[scene.colour])

    judge = run(task, scene, arm, task.expert(arm.model, scene), spoil=spoil)
    assert len(moved) == 1
    assert judge.succeeded


def test_an_expert_that_takes_over_with_the_cube_in_the_hand_does_not_drop_it(arm):
    task = load_table_task("pick_place")
    scene = scene_of(task, 5)
    scene.apply(arm)
    expert, command, heights = task.expert(arm.model, scene), arm.positions, []
    for _ in range(60):
        if arm.cubes[scene.colour][2] > 0.07:
            # Another one that knows nothing of what was before.
            expert = task.expert(arm.model, scene)
            heights.append(arm.cubes[scene.colour][2])
        following = expert.next_command(command, arm)
        for cycle in range(CYCLES):
            arm.command(command + (cycle + 1) / CYCLES * (following - command))
            arm.step()
        command = following
        if len(heights) == 4:
            break
    assert len(heights) == 4


@pytest.mark.parametrize("name", TASKS)
def test_scenes_are_repeatable_and_their_objects_keep_their_distances(name):
    task = load_table_task(name)
    for seed in range(15):
        scene, again = scene_of(task, seed), scene_of(task, seed)
        assert scene.cubes == again.cubes
        assert scene.instruction == again.instruction
        assert scene.instruction in task.instructions
        assert scene.colour in scene.instruction
        places = [np.array(p[:2]) for p in (*scene.cubes.values(), *scene.distractors.values())]
        for i, place in enumerate(places):
            assert np.linalg.norm(place - scene.bowl) > 0.09
            for other in places[:i]:
                assert np.linalg.norm(place - other) > 0.06
    assert scene_of(task, 0).cubes != scene_of(task, 1).cubes


def test_cubes_lie_all_over_the_table_and_every_instruction_occurs():
    task = load_table_task("push")
    scenes = [scene_of(task, seed) for seed in range(120)]
    places = np.array([s.cubes[c][:2] for s in scenes for c in COLOURS]) - PAN_AXIS
    distance, angle = np.linalg.norm(places, axis=1), np.arctan2(places[:, 1], places[:, 0])
    assert distance.min() < 0.17
    assert distance.max() > 0.26
    assert angle.min() < -0.9
    assert angle.max() > 0.9
    assert {s.instruction for s in scenes} == set(task.instructions)


def test_an_instruction_of_another_task_is_an_error_that_lists_the_instructions():
    with pytest.raises(ValueError, match="valid instructions: touch the red cube, touch the gre"):
        load_table_task("reach").scene(np.random.default_rng(0), "put the red cube into the bowl")


def test_the_appearance_changes_the_images_but_not_the_motion(arm):
    from groot_ros.sim.camera import CameraRenderer

    task = load_table_task("reach")
    scene = replace(scene_of(task, 6), look=plain_look())
    ends, images = [], []
    with CameraRenderer(arm.model, 64, 64) as renderer:
        for look in (plain_look(), random_look(np.random.default_rng(1)), plain_look()):
            own = replace(scene, look=look)
            run(task, own, arm, task.expert(arm.model, own), seconds=0.5)
            ends.append(arm.scene)
            images.append(renderer.render(arm.scene, "front").astype(int))
    assert (ends[0] == ends[1]).all()
    assert np.abs(images[0] - images[1]).mean() > 3
    assert (images[0] == images[2]).all()
    show(arm.model, plain_look())
    assert (arm.model.cam_pos == MODEL.mujoco.cam_pos).all()


def test_a_cube_beside_the_bowl_is_no_success(arm):
    task = load_table_task("pick_place")
    scene = scene_of(task, 7)
    scene.apply(arm)
    judge = task.judge(arm.model, scene)
    for offset, expected in ((BOWL_RADIUS + 0.035, False), (0.0, True)):
        target = np.array([scene.bowl[0], scene.bowl[1] + offset])
        arm.shift_cube(scene.colour, target - arm.cubes[scene.colour][:2])
        for _ in range(100):
            arm.step()
            judge.observe(arm)
        assert judge.succeeded is expected


@pytest.mark.parametrize(
    ("text", "robot", "names"),
    [
        ("reach", "so101_table", ("reach",)),
        (" reach, push,", "so101_table", ("reach", "push")),
        ("", "arm7", ()),
        ("vima/rotate", "arm7_suction_table", ("vima/rotate",)),
        (
            "vima",
            "arm7_suction_table",
            tuple(
                f"vima/{name}"
                for name in ("put_into", "rearrange", "rotate", "texture_of_scene", "two_moves")
            ),
        ),
    ],
)
def test_tasks_are_chosen_by_their_names_or_by_that_of_their_folder(text, robot, names):
    assert chosen_tasks(text, robot) == names


@pytest.mark.parametrize(
    ("text", "robot", "problem"),
    [
        ("reach, stack", "so101_table", "there is no simulator task 'stack'"),
        ("vim", "arm7_suction_table", "there is no simulator task 'vim'"),
        ("reach,vima", "so101_table", "'vima/put_into' is for the robot arm7_suction_table, not"),
        ("reach", "arm7_suction_table", "'reach' is for the robot so101_table, not for arm7_suc"),
    ],
)
def test_tasks_of_other_robots_and_unknown_ones_are_refused(text, robot, problem):
    with pytest.raises(ValueError, match=problem):
        chosen_tasks(text, robot)
