"""From the newest observation to a chunk: one activation of a policy."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock
from time import perf_counter
from typing import Protocol

from groot_ros.bridge.inference_stats import InferenceStats
from groot_ros.core import ActionChunk, ChunkOrigin, MalformedError, Observation, Prefix
from groot_ros.observation.instruction import InstructionBox
from groot_ros.observation.observation_buffer import ObservationBuffer
from groot_ros.observation.rejections import Rejected


class Infers(Protocol):
    """The part of groot_ros.policy.Policy that is used here."""

    def infer(
        self, observation: Observation, prefix: Prefix | None = None, seed: int | None = None
    ) -> ActionChunk:
        """One chunk; its provenance is filled in here."""


@dataclass(frozen=True)
class _Ticket:
    """What must still hold when a chunk is done."""

    episode: int
    instruction_id: int
    instruction: str


class Inference:
    """Infers step by step, publishes what still counts and refuses with a reason.

    Args:
        clock: ROS time, ns.
        publish: hands a chunk to the graph.
        refuse: hears (reason, detail) of every step without a chunk.
        seed: of the denoising noise; None = a new one each time.
        continued: the committed motion that a chunk of this origin continues, or None.

    """

    def __init__(
        self,
        policy: Infers,
        buffer: ObservationBuffer,
        instructions: InstructionBox,
        clock: Callable[[], int],
        publish: Callable[[ActionChunk], None],
        refuse: Callable[[str, str], None],
        seed: int | None = None,
        continued: Callable[[ChunkOrigin], Prefix | None] = lambda _: None,
    ) -> None:
        self._policy = policy
        self._buffer = buffer
        self._instructions = instructions
        self._clock = clock
        self._publish = publish
        self._reject = refuse
        self._seed = seed
        self._continued = continued
        self._lock = Lock()
        self._ended = False
        self._chunks = 0
        self._followed = 0
        self._publish_seconds = 0.0
        self.session = str(uuid.uuid4())
        self.episode = 0
        self.figures = InferenceStats()

    def step(self) -> None:
        """One inference, or one rejection."""
        began = perf_counter()
        ticket = self._ticket()
        try:
            observation = self._buffer.snapshot(self._clock(), ticket.instruction)
        except (Rejected, MalformedError) as rejection:
            self._reject(rejection.reason, rejection.detail)
            return
        snapshot_seconds = perf_counter() - began
        try:
            prefix = self._continued(
                ChunkOrigin(
                    observation.stamp_ns,
                    self.session,
                    ticket.episode,
                    new_instruction=ticket.instruction_id != self._followed,
                )
            )
            chunk = self._policy.infer(observation, prefix, self._seed)
        # Whatever a model does to one observation, the next one gets its chance.
        except Exception as error:
            self._reject("inference_error", f"{type(error).__name__}: {error}")
            return
        began = perf_counter()
        with self._lock:
            if self._ended or ticket != self._ticket():
                self._reject("superseded", "reset, stopped or told otherwise while inferring")
                return
            self._chunks += 1
            self._followed = ticket.instruction_id
            stage_seconds = {
                "snapshot": snapshot_seconds,
                **chunk.stage_seconds,
                # Its own is not known yet: that of the chunk before.
                "publish": self._publish_seconds,
            }
            self._publish(
                replace(
                    chunk,
                    session=self.session,
                    episode=ticket.episode,
                    id=self._chunks,
                    instruction_id=ticket.instruction_id,
                    instruction=ticket.instruction,
                    inputs=observation.inputs,
                    stage_seconds=stage_seconds,
                )
            )
        self._publish_seconds = perf_counter() - began
        measured = {**stage_seconds, "publish": self._publish_seconds}
        self.figures.add(chunk, measured, self._clock())

    def reset(self) -> None:
        """Begin a new episode: the past is forgotten, a chunk in the making is dropped."""
        with self._lock:
            self.episode += 1
            self._buffer.clear()

    def end(self) -> None:
        """Publish nothing from now on, whatever is still being inferred."""
        with self._lock:
            self._ended = True

    def _ticket(self) -> _Ticket:
        instruction = self._instructions.current
        return _Ticket(self.episode, instruction.id, instruction.text)
