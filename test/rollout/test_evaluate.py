# SPDX-License-Identifier: Apache-2.0
"""Evaluation in closed loop: repeatable, honest about failures, and disturbed as asked."""

import json
from dataclasses import replace

import numpy as np
import pytest

from groot_ros.control import ExecutorConfig
from groot_ros.core.share import demo_checkpoint
from groot_ros.rollout.closed_loop import ClosedLoop, LoopSettings
from groot_ros.rollout.evaluate import (
    EvaluationSettings,
    evaluate,
    policy_for,
    rms_jerk,
    run_episode,
    to_json,
    wilson_interval,
)
from groot_ros.rollout.simulation import (
    COLLECTED,
    EVALUATED,
    START_NS,
    episode_rng,
    evaluation_scene,
    simulator,
)
from groot_ros.sim.tasks import load_table_task

REACH = EvaluationSettings("reach", size=(32, 32))
DEMO = str(demo_checkpoint())


def test_the_expert_succeeds_through_the_executor_with_a_delay_of_200_ms():
    outcomes = []
    for task in ("reach", "push", "pick_place"):
        settings = EvaluationSettings(task, loop=LoopSettings(delay=0.2), size=(32, 32))
        outcome = run_episode(0, settings)
        outcomes.append((outcome.success, outcome.wrong_touches, outcome.chunks > 2))
    assert outcomes == [(True, (), True)] * 3


def test_an_episode_is_the_same_bit_for_bit_after_others_in_the_same_process():
    first = run_episode(1, REACH)
    run_episode(2, EvaluationSettings("push", size=(32, 32)))
    again = run_episode(1, REACH)
    assert replace(first, cpu_seconds=0.0) == replace(again, cpu_seconds=0.0)
    assert first.success


def test_the_delay_delays_the_first_motion_by_itself():
    plain = run_episode(0, REACH)
    late = run_episode(0, replace(REACH, loop=LoopSettings(delay=0.3)))
    assert late.seconds - plain.seconds == pytest.approx(0.3, abs=0.08)


def test_an_episode_without_images_has_no_chunk_and_no_success():
    loop = LoopSettings(camera_dropout=1.0)
    outcome = run_episode(0, replace(REACH, loop=loop))
    assert (outcome.success, outcome.seconds, outcome.chunks) == (False, None, 0)
    assert sum(outcome.rejections.values()) == 20
    figures = evaluate(replace(REACH, loop=loop), 1, jobs=1).summary()
    assert (figures["success_rate"], figures["no_chunk"], figures["episodes"]) == (0.0, 1, 1)


def test_half_of_the_frames_are_enough_for_the_expert():
    assert run_episode(0, replace(REACH, loop=LoopSettings(camera_dropout=0.5))).success


def test_encoders_that_are_far_off_make_the_expert_miss():
    # It does not see the arm, but its chunks start from set points that are off.
    outcome = run_episode(0, replace(REACH, loop=LoopSettings(joint_offset=0.3)))
    assert not outcome.success


def test_without_blending_the_motion_is_less_smooth():
    hard = LoopSettings(delay=0.2, executor=ExecutorConfig(blend_window=0.0))
    smooth = LoopSettings(delay=0.2)
    jerks = [
        np.mean([run_episode(i, replace(REACH, loop=loop)).jerk for i in range(2)])
        for loop in (hard, smooth)
    ]
    assert jerks[0] > jerks[1]


def test_scenes_are_unseen_and_moved_cameras_leave_them_the_same():
    task = load_table_task("reach")
    scene, moved = (evaluation_scene(task, REACH.seed, 3, shift) for shift in (0.0, 0.05))
    assert scene.cubes == moved.cubes
    assert scene.instruction == moved.instruction
    for camera, shift in moved.look.shift.items():
        assert np.linalg.norm(shift - scene.look.shift[camera]) == pytest.approx(0.05)
    draws = {p: episode_rng(0, 3, p).random() for p in (COLLECTED, EVALUATED)}
    assert draws[COLLECTED] != draws[EVALUATED]


def test_a_checkpoint_is_judged_with_each_mode_of_real_time_chunking():
    for mode in ("off", "native", "guided"):
        settings = replace(
            REACH,
            task="pick_place",
            policy=DEMO,
            policy_options={"torch_threads": 1},
            loop=LoopSettings(rtc_mode=mode, delay=0.2),
            size=(128, 128),
        )
        outcome = run_episode(0, settings)
        assert outcome.chunks > 5
        assert not {"inference_error", "before_start"} & set(outcome.rejections)


def test_the_second_chunk_of_an_episode_already_continues_the_first_one():
    settings = replace(REACH, task="pick_place", loop=LoopSettings(rtc_mode="native", delay=0.2))
    task = load_table_task(settings.task)
    contract, robot, renderer = simulator(task.robot, settings.size)
    scene = evaluation_scene(task, settings.seed, 0)
    robot.jump_to(START_NS)
    robot.reset(scene.apply)
    policy, spec = policy_for(settings, task, scene, robot, contract)
    frozen = []

    class Recording:
        dt, first_step, spec, joint_groups = (
            policy.dt,
            policy.first_step,
            policy.spec,
            policy.joint_groups,
        )
        reset = policy.reset

        def infer(self, observation, prefix=None, seed=None):
            frozen.append(None if prefix is None else prefix.frozen_steps)
            return policy.infer(observation, prefix, seed)

    loop = ClosedLoop(
        robot, renderer, contract, Recording(), spec, scene.instruction, settings.loop, 0
    )
    for _ in range(round(2.0 * 1e9 / robot.period_ns)):
        loop.cycle()
    # 200 ms are two steps of 100 ms; frames are up to 33 ms old, and one step is for the way.
    assert frozen[0] is None
    assert set(frozen[1:]) <= {3, 4}
    assert len(frozen) == 8


def test_failures_are_kept_as_videos_and_successes_are_not(tmp_path):
    from groot_ros.datasets.video import count_frames

    run_episode(0, replace(REACH, videos=tmp_path))
    assert list(tmp_path.iterdir()) == []
    run_episode(0, replace(REACH, videos=tmp_path, loop=LoopSettings(camera_dropout=1.0)))
    (video,) = tmp_path.iterdir()
    assert video.name == "reach_0_0000.mp4"
    assert count_frames(video) == 50


def test_an_episode_that_is_stopped_leaves_no_video(tmp_path, monkeypatch):
    def stop(loop):
        raise KeyboardInterrupt

    monkeypatch.setattr(ClosedLoop, "cycle", stop)
    with pytest.raises(KeyboardInterrupt):
        run_episode(0, replace(REACH, videos=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_json_has_the_figures_and_every_outcome():
    evaluation = evaluate(REACH, 3, jobs=1)
    found = json.loads(json.dumps(to_json(REACH, evaluation)))
    assert found["success_rate"] == 1.0
    assert found["episodes"] == found["successes"] == len(found["outcomes"]) == 3
    assert found["success_interval_95"] == pytest.approx([0.4385, 1.0], abs=1e-4)
    assert found["no_chunk"] == 0
    assert found["seconds_to_success"]["median"] > 0.2


@pytest.mark.parametrize(
    ("successes", "episodes", "expected"),
    [
        (0, 0, (0.0, 1.0)),
        (97, 100, (0.9155, 0.9897)),
        (0, 10, (0.0, 0.2775)),
        (50, 100, (0.4038, 0.5962)),
    ],
)
def test_the_wilson_interval_has_the_textbook_values(successes, episodes, expected):
    assert wilson_interval(successes, episodes) == pytest.approx(expected, abs=1e-4)


def test_the_jerk_of_a_cubic_is_its_third_derivative():
    t = np.arange(500)[:, None] * 0.004
    assert rms_jerk(2.0 * t**3, 0.004) == pytest.approx(12.0)
    assert rms_jerk(np.ones((3, 2)), 0.004) == 0.0


def test_no_episodes_and_an_unknown_task_are_errors():
    with pytest.raises(ValueError, match="must be positive, not 0"):
        evaluate(REACH, 0)
    with pytest.raises(ValueError, match="there is no task 'stack' with an expert"):
        evaluate(replace(REACH, task="stack"), 1)
