# SPDX-License-Identifier: Apache-2.0
"""`groot-ros sim evaluate --real-nodes`: the same scenes through the nodes over DDS."""

from dataclasses import replace

import pytest

from groot_ros.bringup.sim_evaluation import evaluate_lockstep, evaluate_nodes
from groot_ros.core.share import demo_checkpoint
from groot_ros.rollout.closed_loop import LoopSettings
from groot_ros.rollout.evaluate import EvaluationSettings, run_episode
from groot_ros.rollout.simulation import evaluation_scene
from groot_ros.sim.tasks import load_table_task

DEMO = str(demo_checkpoint())
SETTINGS = EvaluationSettings(
    "reach", policy=DEMO, policy_options={"torch_threads": 1}, seed=3, size=(64, 48)
)


@pytest.mark.ros
@pytest.mark.slow
def test_the_scenes_are_those_of_the_closed_loop_and_chunks_are_executed(ros_domain):
    evaluation = evaluate_nodes(SETTINGS, 1)
    task = load_table_task("reach")
    expected = [evaluation_scene(task, SETTINGS.seed, index).instruction for index in range(1)]
    assert [o.instruction for o in evaluation.outcomes] == expected
    assert [o.index for o in evaluation.outcomes] == [0]
    for outcome in evaluation.outcomes:
        assert outcome.chunks > 5
        assert set(outcome.rejections) <= {"before_stop"}
    assert evaluation.summary()["no_chunk"] == 0


@pytest.mark.ros
@pytest.mark.slow
def test_in_lockstep_the_outcomes_are_those_of_the_closed_loop(ros_domain, tmp_path):
    loop = LoopSettings(delay=0.2, camera_dropout=0.3, joint_offset=-0.02)
    videos = tmp_path / "nodes"
    settings = replace(SETTINGS, loop=loop, camera_shift=0.02, videos=videos)
    (outcome,) = evaluate_lockstep(settings, 1).outcomes
    expected = run_episode(0, replace(settings, videos=tmp_path / "direct"))
    assert (outcome.success, outcome.seconds) == (expected.success, expected.seconds)
    assert outcome.chunks == expected.chunks
    assert outcome.jerk == pytest.approx(expected.jerk, rel=1e-6)
    kept = [path.name for path in videos.iterdir()]
    assert kept == ([] if outcome.success else ["reach_3_0000.mp4"])


def test_the_expert_is_no_policy_node():
    for evaluate in (evaluate_nodes, evaluate_lockstep):
        with pytest.raises(ValueError, match="needs a checkpoint: the expert is no policy node"):
            evaluate(replace(SETTINGS, policy="expert"), 1)
