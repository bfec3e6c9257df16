# SPDX-License-Identifier: Apache-2.0
"""One activation: which chunk is published, which is rejected, and when the job runs."""

from pathlib import Path
from threading import Event

import numpy as np
import pytest

from groot_ros.core import ActionChunk, ActionGroup, ActionKind, ChunkOrigin
from groot_ros.observation.buffer import ObservationBuffer
from groot_ros.observation.inference import Inference, Worker
from groot_ros.observation.instruction import InstructionBox
from groot_ros.observation.spec import ObservationSpec, SyncTolerances
from groot_ros.robot import load_contract

MS = 1_000_000
NOW = 1_000_000 * MS
#: s until an event must have happened; reached only by a test that fails.
TIMEOUT = 10.0
CONTRACT = load_contract(Path(__file__).parents[2] / "config" / "robots" / "so101.yaml")


class Setting:
    """An inference whose policy calls `while_inferring` in the middle of its work."""

    def __init__(self, instruction="pick"):
        self.instructions = InstructionBox()
        self.instructions.set(instruction)
        spec = ObservationSpec(("front",), ("gripper",))
        self.buffer = ObservationBuffer(CONTRACT, spec, SyncTolerances())
        self.published: list[ActionChunk] = []
        self.rejected: list[tuple[str, str]] = []
        self.while_inferring = lambda: None
        self.origins: list[ChunkOrigin] = []
        self.prefixes: list[object] = []
        self.resets = 0
        self.now = NOW
        self.inference = Inference(
            self,
            self.buffer,
            self.instructions,
            lambda: self.now,
            self.published.append,
            lambda *rejection: self.rejected.append(rejection),
            seed=5,
            prefix_for=self.prefix_for,
        )

    def prefix_for(self, origin):
        self.origins.append(origin)
        return len(self.origins)

    def reset(self):
        self.resets += 1

    def infer(self, observation, prefix=None, seed=None):
        self.prefixes.append(prefix)
        self.while_inferring()
        group = ActionGroup(ActionKind.GRIPPER, "gripper", ("gripper",), ("rad",), [[seed]] * 4)
        t_obs = observation.stamp_ns
        return ActionChunk(t_obs, t_obs, 0.05, (group,), stage_seconds={"head": 0.5})

    def see(self):
        self.buffer.add_frame("front", self.now, self.now, lambda: np.zeros((16, 16, 3), np.uint8))
        self.buffer.add_joint_state("joint_states", self.now, self.now, ["gripper"], [0.0])

    def step(self):
        self.see()
        self.inference.step()
        self.now += 100 * MS


def test_chunks_are_numbered_from_one_and_carry_instruction_and_inputs():
    setting = Setting()
    setting.step()
    setting.step()
    first, second = setting.published
    assert (first.id, second.id) == (1, 2)
    assert first.session == second.session == setting.inference.session
    assert (first.instruction_id, first.instruction, first.episode) == (1, "pick", 0)
    assert [i.name for i in first.inputs] == ["front", "joint_states"]
    assert first.groups[0].values[0, 0] == 5.0


def test_each_chunk_continues_the_motion_committed_for_its_observation_and_session():
    setting = Setting()
    setting.step()
    setting.inference.reset()
    setting.step()
    setting.instructions.set("place")
    setting.step()
    setting.step()
    session = setting.inference.session
    assert setting.origins == [
        ChunkOrigin(NOW, session, 0, new_instruction=True),
        ChunkOrigin(NOW + 100 * MS, session, 1, new_instruction=False),
        ChunkOrigin(NOW + 200 * MS, session, 1, new_instruction=True),
        ChunkOrigin(NOW + 300 * MS, session, 1, new_instruction=False),
    ]
    assert setting.prefixes == [1, 2, 3, 4]


def test_the_stages_are_those_of_the_chunk_except_publish_which_is_the_previous_one():
    setting = Setting()
    setting.step()
    setting.step()
    first, second = (chunk.stage_seconds for chunk in setting.published)
    assert list(first) == ["snapshot", "head", "publish"]
    assert (first["head"], first["publish"]) == (0.5, 0.0)
    assert second["publish"] > 0.0


def test_without_an_observation_there_is_a_rejection_and_no_inference():
    setting = Setting()
    setting.while_inferring = pytest.fail
    setting.inference.step()
    detail = "nothing received from camera 'front' on 'front/image_raw'"
    assert setting.rejected == [("missing_image", detail)]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: s.instructions.set("place"),
        lambda s: s.instructions.set(""),
        lambda s: s.inference.reset(),
        lambda s: s.inference.end(),
    ],
)
def test_a_chunk_for_an_old_instruction_episode_or_session_is_dropped(spoil):
    setting = Setting()
    setting.while_inferring = lambda: spoil(setting)
    setting.step()
    assert not setting.published
    assert [reason for reason, _ in setting.rejected] == ["superseded"]


def test_the_first_chunk_after_a_reset_is_of_the_new_episode_and_uses_no_older_inputs():
    setting = Setting()
    setting.step()
    setting.inference.reset()
    setting.inference.step()
    assert setting.rejected[-1][0] == "missing_image"
    setting.step()
    assert [(c.episode, c.id) for c in setting.published] == [(0, 1), (1, 2)]


def test_a_new_session_and_each_reset_make_the_policy_forget_in_the_inference_thread():
    setting = Setting()
    setting.step()
    setting.step()
    assert setting.resets == 1
    setting.inference.reset()
    assert setting.resets == 1
    setting.step()
    assert setting.resets == 2


def test_any_exception_of_a_policy_is_a_rejection_with_its_message():
    setting = Setting()

    def broken():
        raise ZeroDivisionError("by nothing")

    setting.while_inferring = broken
    setting.step()
    assert setting.rejected == [("inference_error", "ZeroDivisionError: by nothing")]
    setting.while_inferring = lambda: None
    setting.step()
    assert len(setting.published) == 1


def test_two_activations_are_two_sessions():
    assert Setting().inference.session != Setting().inference.session


class Job:
    """Each run waits for `go`; `began` and `ended` are set by each run."""

    def __init__(self):
        self.runs = 0
        self.began, self.go, self.ended = Event(), Event(), Event()
        self.error = None

    def __call__(self):
        self.runs += 1
        self.began.set()
        assert self.go.wait(TIMEOUT)
        self.go.clear()
        self.ended.set()
        if self.error is not None:
            raise self.error

    def has_begun(self):
        assert self.began.wait(TIMEOUT)
        self.began.clear()

    def finish(self):
        self.go.set()
        assert self.ended.wait(TIMEOUT)
        self.ended.clear()


@pytest.fixture
def working():
    job, failures = Job(), []
    worker = Worker(job, failures.append, "worker under test")
    yield worker, job, failures
    job.go.set()
    worker.stop()


def test_ticks_during_a_run_are_skipped(working):
    worker, job, _ = working
    worker.tick()
    job.has_begun()
    for _ in range(5):
        worker.tick()
    job.finish()
    worker.stop()
    assert job.runs == 1


def test_requests_during_a_run_cause_one_further_run(working):
    worker, job, _ = working
    worker.tick()
    job.has_begun()
    worker.request()
    worker.request()
    job.finish()
    job.has_begun()
    job.finish()
    worker.stop()
    assert job.runs == 2


def test_consecutive_requests_cause_a_run_each(working):
    worker, job, _ = working
    for _ in range(3):
        worker.request()
        job.has_begun()
        job.finish()
    assert job.runs == 3


def test_stop_waits_for_the_run_in_progress_and_starts_no_other(working):
    worker, job, _ = working
    worker.tick()
    job.has_begun()
    worker.request()
    job.go.set()
    worker.stop()
    assert (job.runs, job.ended.is_set()) == (1, True)
    worker.stop()
    worker.request()
    assert job.runs == 1


def test_an_exception_of_the_job_is_reported_and_the_thread_continues(working):
    worker, job, failures = working
    job.error = ValueError("broken")
    worker.tick()
    job.has_begun()
    job.finish()
    job.error = None
    worker.request()
    job.has_begun()
    job.finish()
    assert [str(f) for f in failures] == ["broken"]
