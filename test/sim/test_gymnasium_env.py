# SPDX-License-Identifier: Apache-2.0
"""The Gymnasium environments: the interface that others expect, and the tasks behind it."""

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from gymnasium.utils.env_checker import check_env  # noqa: E402

from groot_ros.sim.gymnasium_env import TableEnv  # noqa: E402


def test_the_environments_are_registered_and_pass_the_checker_of_gymnasium():
    env = gymnasium.make("groot_ros/reach-v0", render_mode="rgb_array", size=(32, 32))
    check_env(env.unwrapped, skip_render_check=True)
    assert env.reset(seed=1)[0]["front"].shape == (32, 32, 3)
    assert env.render().shape == (32, 32, 3)
    env.close()


@pytest.mark.parametrize("task", ["reach", "push", "pick_place"])
def test_the_expert_ends_an_episode_with_reward_1(task):
    env = TableEnv(task, size=(32, 32))
    observation, info = env.reset(seed=3)
    assert info == {"success": False, "wrong_touches": []}
    assert observation["instruction"] in env.task.instructions
    expert, rewards, terminated = env.expert(), [], False
    while not terminated:
        _, reward, terminated, truncated, info = env.step(env.expert_action(expert))
        rewards.append(reward)
        assert not truncated
    assert rewards == [0.0] * (len(rewards) - 1) + [1.0]
    assert info["success"]
    env.close()


def test_an_arm_that_stands_still_is_truncated_when_the_time_is_up():
    env = TableEnv("reach", size=(16, 16))
    env.reset(seed=0)
    ends = [env.step(np.full(6, np.nan))[2:4] for _ in range(50)]
    assert ends == [(False, False)] * 49 + [(False, True)]
    env.close()


def test_a_step_before_reset_and_an_unknown_instruction_are_errors():
    env = TableEnv("reach", size=(16, 16))
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(np.zeros(6))
    with pytest.raises(ValueError, match="is not an instruction of the task"):
        env.reset(options={"instruction": "fly"})
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"an action has 6 joint positions, rad, not shape \(5,\)"):
        env.step(np.zeros(5))
    env.close()


def test_steps_after_the_success_have_no_reward():
    env = TableEnv("reach", size=(16, 16))
    env.reset(seed=1)
    expert, rewards = env.expert(), []
    for _ in range(40):
        rewards.append(env.step(env.expert_action(expert))[1])
    assert sum(rewards) == 1.0
    assert rewards[-1] == 0.0
    env.close()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"size": (0, 64)}, r"size must be \(width, height\) in pixels, not \(0, 64\)"),
        ({"size": (64,)}, r"size must be \(width, height\) in pixels, not \(64,\)"),
        ({"size": "64x64"}, "size must be .*, not '64x64'"),
        ({"render_mode": "human"}, "render_mode must be None or 'rgb_array', not 'human'"),
    ],
)
def test_a_wrong_size_and_an_unknown_mode_are_errors(options, problem):
    with pytest.raises(ValueError, match=problem):
        TableEnv("reach", **options)


def test_a_mistyped_option_is_an_error_and_gives_no_random_instruction():
    env = TableEnv("reach", size=(16, 16))
    with pytest.raises(ValueError, match="there is no option 'instructions', only 'instruction'"):
        env.reset(options={"instructions": "touch the red cube"})
    env.close()
