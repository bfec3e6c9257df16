# SPDX-License-Identifier: Apache-2.0
"""Success in tasks with prompts: by the arm, by level, and with rejected actions as failures."""

from dataclasses import replace

import pytest
import torch
from support.tiny_vima import tiny_config

from groot_ros.core.config_reader import CheckpointError
from groot_ros.core.share import demo_checkpoint
from groot_ros.families.vima.checkpoint import random_network, save_network
from groot_ros.families.vima.prompt import word_tokenizer
from groot_ros.rollout.pose_bins import BINS
from groot_ros.rollout.prompt_evaluate import (
    NO_ACTION,
    UNREACHABLE,
    PromptEvaluationSettings,
    evaluate_prompts,
    prompts_to_json,
    run_prompt_episode,
)
from groot_ros.sim.prompt_objects import LEVELS
from groot_ros.sim.tasks import load_prompt_task, prompt_task_names

ROTATE = PromptEvaluationSettings("vima/rotate")
WORDS = load_prompt_task("vima/rotate").words


def write_policy(folder, words, pick, place):
    """Write a checkpoint whose actions are always these bins, without any turn."""
    network = random_network(tiny_config(bins=dict(BINS), word_vocab=80), 0)
    upright = (25, 25, 25, 49)
    chosen = {
        "pose0_position": pick,
        "pose0_rotation": upright,
        "pose1_position": place,
        "pose1_rotation": upright,
    }
    parameters = dict(network.named_parameters())
    with torch.no_grad():
        for part, bins in chosen.items():
            for column, index in enumerate(bins):
                own = [n for n in parameters if f"{part}.mlps.{column}." in n]
                weight, bias = own[-2:]
                parameters[weight].zero_()
                parameters[bias].zero_()
                parameters[bias][index] = 10.0
    save_network(network, folder, word_tokenizer(words))
    return str(folder)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("task", prompt_task_names())
def test_the_arm_does_what_the_expert_says_with_its_suction_cup(task, level):
    outcome = run_prompt_episode(1, PromptEvaluationSettings(task, level=level))
    assert outcome.success
    assert (outcome.wrong_touches, outcome.rejections) == ((), {})
    assert outcome.seconds > 3


def test_an_episode_is_the_same_after_others_and_with_the_same_seed_only():
    first = run_prompt_episode(0, ROTATE)
    run_prompt_episode(1, PromptEvaluationSettings("vima/two_moves", with_arm=False))
    again = run_prompt_episode(0, ROTATE)
    assert replace(again, cpu_seconds=0.0) == replace(first, cpu_seconds=0.0)
    # The motion takes another time in another scene.
    assert run_prompt_episode(0, replace(ROTATE, seed=1)).seconds != first.seconds


def test_an_action_out_of_reach_is_a_failure_with_its_reason(tmp_path):
    far = write_policy(tmp_path, WORDS, pick=(49, 99), place=(25, 50))
    outcome = run_prompt_episode(0, replace(ROTATE, policy=far))
    assert not outcome.success
    assert (outcome.chunks, outcome.rejections) == (0, {UNREACHABLE: 1})


def test_a_prompt_that_the_policy_cannot_read_is_a_failure(tmp_path):
    mute = write_policy(tmp_path, ["rotate"], pick=(25, 50), place=(25, 50))
    outcome = run_prompt_episode(0, replace(ROTATE, policy=mute, with_arm=False))
    assert not outcome.success
    assert (outcome.chunks, outcome.rejections) == (0, {NO_ACTION: 1})


def test_a_policy_that_picks_up_nothing_fails_without_rejection(tmp_path):
    idle = write_policy(tmp_path, WORDS, pick=(49, 0), place=(25, 50))
    found = evaluate_prompts(replace(ROTATE, policy=idle, with_arm=False), 3, jobs=1)
    assert [(o.success, o.chunks, o.rejections) for o in found.outcomes] == [(False, 1, {})] * 3
    figures = prompts_to_json(replace(ROTATE, level="combination"), found)
    assert figures["success_interval_95"] == [0.0, pytest.approx(0.56, abs=0.01)]
    assert (figures["success_rate"], figures["no_chunk"], figures["not_run"]) == (0.0, 0, 0)
    assert (figures["level"], figures["with_arm"], figures["policy"]) == (
        *("combination", True, "expert"),
    )


def test_the_second_of_two_moves_does_not_count_without_the_first(tmp_path):
    words = load_prompt_task("vima/two_moves").words
    idle = write_policy(tmp_path, words, pick=(49, 0), place=(25, 50))
    settings = PromptEvaluationSettings("vima/two_moves", policy=idle, with_arm=False)
    outcomes = [run_prompt_episode(index, settings) for index in range(4)]
    # The object is where "put it back" wants it, but it was never in the container.
    assert any("back" in outcome.instruction for outcome in outcomes)
    assert [(o.success, o.chunks) for o in outcomes] == [(False, 1)] * 4


def test_a_policy_with_chunks_is_rejected_before_anything_runs():
    demo = replace(ROTATE, policy=str(demo_checkpoint()))
    with pytest.raises(CheckpointError, match=r"tasks vima/\.\.\. need poses on a table"):
        evaluate_prompts(demo, 1, jobs=1)


def test_no_episodes_are_an_error():
    with pytest.raises(ValueError, match="the number of episodes must be positive, not 0"):
        evaluate_prompts(ROTATE, 0)
