"""One activation: which chunk is published, which is dropped, and what is said of each."""

from pathlib import Path

import numpy as np
import pytest

from groot_ros.bridge.inference import Inference
from groot_ros.core import ActionChunk, ActionGroup, ActionKind, ChunkOrigin
from groot_ros.observation.instruction import InstructionBox
from groot_ros.observation.observation_buffer import ObservationBuffer
from groot_ros.observation.spec import ObservationSpec, SyncTolerances
from groot_ros.robot import load_contract

MS = 1_000_000
NOW = 1_000_000 * MS
CONTRACT = load_contract(Path(__file__).parents[2] / "config" / "robots" / "so101.yaml")


class Setting:
    """An inference whose policy calls `while_inferring` in the middle of its work."""

    def __init__(self, instruction="pick"):
        self.instructions = InstructionBox()
        self.instructions.put(instruction)
        wanted = ObservationSpec(("front",), ("gripper",))
        self.buffer = ObservationBuffer(CONTRACT, wanted, SyncTolerances())
        self.published: list[ActionChunk] = []
        self.rejected: list[tuple[str, str]] = []
        self.while_inferring = lambda: None
        self.origins: list[ChunkOrigin] = []
        self.prefixes: list[object] = []
        self.now = NOW
        self.inference = Inference(
            self,
            self.buffer,
            self.instructions,
            lambda: self.now,
            self.published.append,
            lambda *rejection: self.rejected.append(rejection),
            seed=5,
            continued=self.continued,
        )

    def continued(self, origin):
        self.origins.append(origin)
        return len(self.origins)

    def infer(self, observation, prefix=None, seed=None):
        self.prefixes.append(prefix)
        self.while_inferring()
        group = ActionGroup(ActionKind.GRIPPER, "gripper", ("gripper",), ("rad",), [[seed]] * 4)
        t_obs = observation.stamp_ns
        return ActionChunk(t_obs, t_obs, 0.05, (group,), stage_seconds={"head": 0.5})

    def see(self):
        self.buffer.add_image("front", self.now, self.now, lambda: np.zeros((16, 16, 3), np.uint8))
        self.buffer.add_joint_state("joint_states", self.now, self.now, ["gripper"], [0.0])

    def step(self):
        self.see()
        self.inference.step()
        self.now += 100 * MS


def test_chunks_are_numbered_from_one_and_carry_what_they_were_told():
    setting = Setting()
    setting.step()
    setting.step()
    first, second = setting.published
    assert (first.id, second.id) == (1, 2)
    assert first.session == second.session == setting.inference.session
    assert (first.instruction_id, first.instruction, first.episode) == (1, "pick", 0)
    assert [i.name for i in first.inputs] == ["front", "joint_states"]
    assert first.groups[0].values[0, 0] == 5.0


def test_each_chunk_continues_what_is_committed_for_its_observation_and_run():
    setting = Setting()
    setting.step()
    setting.inference.reset()
    setting.step()
    setting.instructions.put("place")
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


def test_the_stages_are_those_of_the_chunk_but_publishing_is_that_of_the_one_before():
    setting = Setting()
    setting.step()
    setting.step()
    first, second = (chunk.stage_seconds for chunk in setting.published)
    assert list(first) == ["snapshot", "head", "publish"]
    assert (first["head"], first["publish"]) == (0.5, 0.0)
    assert second["publish"] > 0.0


def test_an_observation_that_cannot_be_made_is_a_rejection_and_no_inference():
    setting = Setting()
    setting.while_inferring = pytest.fail
    setting.inference.step()
    assert setting.rejected == [("missing_image", "nothing received from camera 'front'")]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: s.instructions.put("place"),
        lambda s: s.instructions.put(""),
        lambda s: s.inference.reset(),
        lambda s: s.inference.end(),
    ],
)
def test_what_was_inferred_for_something_that_is_over_is_dropped(spoil):
    setting = Setting()
    setting.while_inferring = lambda: spoil(setting)
    setting.step()
    assert not setting.published
    assert [reason for reason, _ in setting.rejected] == ["superseded"]


def test_the_first_chunk_after_a_reset_is_of_the_new_episode_and_sees_nothing_older():
    setting = Setting()
    setting.step()
    setting.inference.reset()
    setting.inference.step()
    assert setting.rejected[-1][0] == "missing_image"
    setting.step()
    assert [(c.episode, c.id) for c in setting.published] == [(0, 1), (1, 2)]


def test_whatever_a_policy_raises_is_a_rejection_with_its_words():
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
