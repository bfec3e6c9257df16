# SPDX-License-Identifier: Apache-2.0
"""`groot-ros sim evaluate --real-nodes`: the same scenes through the nodes over DDS."""

from dataclasses import replace

import pytest

from groot_ros.bringup.sim_evaluation import evaluate_nodes
from groot_ros.core.share import demo_checkpoint
from groot_ros.rollout.closed_loop import LoopSettings
from groot_ros.rollout.evaluate import EvaluationSettings, scene_of
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
    expected = [scene_of(task, SETTINGS, index).instruction for index in range(1)]
    assert [o.instruction for o in evaluation.outcomes] == expected
    assert [o.index for o in evaluation.outcomes] == [0]
    for outcome in evaluation.outcomes:
        assert outcome.chunks > 5
        assert set(outcome.rejections) <= {"before_stop"}
    assert evaluation.summary()["no_chunk"] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policy": "expert"}, "needs a checkpoint: the expert is no policy node"),
        ({"loop": LoopSettings(delay=0.1)}, "cannot have a delay: leave it out"),
        (
            {"loop": LoopSettings(camera_dropout=0.1, joint_offset=0.1), "camera_shift": 0.1},
            "cannot have lost frames, an encoder error, moved cameras: leave it out",
        ),
    ],
)
def test_what_only_one_process_can_do_is_an_error_before_anything_starts(changes, message):
    with pytest.raises(ValueError, match=message):
        evaluate_nodes(replace(SETTINGS, **changes), 1)
