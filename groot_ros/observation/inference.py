# SPDX-License-Identifier: Apache-2.0
"""The inference loop: observation -> chunk, for one activation of a policy, and its thread."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Condition, Lock, Thread
from time import perf_counter
from typing import Protocol

from groot_ros.core import (
    ActionChunk,
    ChunkOrigin,
    MalformedError,
    NoChunkError,
    Observation,
    Prefix,
)
from groot_ros.observation.buffer import ObservationBuffer
from groot_ros.observation.inference_stats import InferenceStats
from groot_ros.observation.instruction import Instruction, InstructionBox
from groot_ros.observation.rejections import Rejected


class InferringPolicy(Protocol):
    """The part of groot_ros.policy.Policy that inference needs."""

    def infer(
        self, observation: Observation, prefix: Prefix | None = None, seed: int | None = None
    ) -> ActionChunk:
        """Return a chunk; session, ids and inputs are filled in by Inference.

        Raises:
            NoChunkError: there is none for this observation.

        """

    def reset(self) -> None:
        """Forget earlier observations."""


@dataclass(frozen=True)
class _Request:
    """Episode and instruction of an inference; the chunk is dropped if they have changed."""

    episode: int
    instruction: Instruction


class Inference:
    """Infer step by step; publish the chunks that are still valid, reject the others.

    Args:
        clock: returns ROS time, ns.
        publish: called with each valid chunk.
        reject: called with (reason, detail) for each step without a chunk.
        seed: seed of the denoising noise; None = a new seed for each chunk.
        prefix_for: returns the committed motion that a chunk of this origin continues, or None.

    Attributes:
        session: UUID of this activation.
        episode: number of resets since activation.
        stats: latencies and rate of the published chunks.

    """

    def __init__(
        self,
        policy: InferringPolicy,
        buffer: ObservationBuffer,
        instructions: InstructionBox,
        clock: Callable[[], int],
        publish: Callable[[ActionChunk], None],
        reject: Callable[[str, str], None],
        seed: int | None = None,
        prefix_for: Callable[[ChunkOrigin], Prefix | None] = lambda _: None,
    ) -> None:
        self._policy = policy
        self._buffer = buffer
        self._instructions = instructions
        self._clock = clock
        self._publish = publish
        self._reject = reject
        self._seed = seed
        self._prefix_for = prefix_for
        self._lock = Lock()
        self._ended = False
        self._chunks = 0
        self._last_instruction_id = 0
        self._reset_episode = -1
        self._publish_seconds = 0.0
        self.session = str(uuid.uuid4())
        self.episode = 0
        self.stats = InferenceStats()

    def step(self) -> None:
        """Run one inference; publish its chunk or report one rejection."""
        began = perf_counter()
        request = self._request()
        instruction = request.instruction
        try:
            observation = self._buffer.snapshot(self._clock(), instruction.text)
        except (Rejected, MalformedError) as rejection:
            self._reject(rejection.reason, rejection.detail)
            return
        observation = replace(
            observation, pictures=instruction.pictures, instruction_id=instruction.id
        )
        snapshot_seconds = perf_counter() - began
        try:
            # Reset here, because the policy may be used in this thread only.
            if request.episode != self._reset_episode:
                self._policy.reset()
                self._reset_episode = request.episode
            prefix = self._prefix_for(
                ChunkOrigin(
                    observation.stamp_ns,
                    self.session,
                    request.episode,
                    new_instruction=instruction.id != self._last_instruction_id,
                )
            )
            chunk = self._policy.infer(observation, prefix, self._seed)
        except NoChunkError as refusal:
            self._reject(refusal.reason, refusal.detail)
            return
        # Any error of the model costs this chunk only; the next observation is tried as usual.
        except Exception as error:
            self._reject("inference_error", f"{type(error).__name__}: {error}")
            return
        began = perf_counter()
        with self._lock:
            if self._ended or request != self._request():
                self._reject("superseded", "reset, stopped or given an instruction while inferring")
                return
            self._chunks += 1
            self._last_instruction_id = instruction.id
            stage_seconds = {
                "snapshot": snapshot_seconds,
                **chunk.stage_seconds,
                # The time to publish this chunk is not known yet: use that of the previous chunk.
                "publish": self._publish_seconds,
            }
            self._publish(
                replace(
                    chunk,
                    session=self.session,
                    episode=request.episode,
                    id=self._chunks,
                    instruction_id=instruction.id,
                    instruction=instruction.text,
                    inputs=observation.inputs,
                    stage_seconds=stage_seconds,
                )
            )
        self._publish_seconds = perf_counter() - began
        measured = {**stage_seconds, "publish": self._publish_seconds}
        self.stats.record_chunk(chunk, measured, self._clock())

    def reset(self) -> None:
        """Begin a new episode: clear the buffers and drop the chunk being inferred."""
        with self._lock:
            self.episode += 1
            self._buffer.clear()

    def end(self) -> None:
        """Publish nothing more, including the chunk being inferred."""
        with self._lock:
            self._ended = True

    def _request(self) -> _Request:
        return _Request(self.episode, self._instructions.current)


class Worker:
    """Thread that runs one job at a time; at most one further run is pending.

    Args:
        job: called in the thread.
        failed: called with any exception of the job; the thread continues.
        name: name of the thread.

    """

    def __init__(
        self, job: Callable[[], None], failed: Callable[[Exception], None], name: str
    ) -> None:
        self._job = job
        self._failed = failed
        self._state = Condition()
        self._busy = False
        self._due = False
        self._ended = False
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def tick(self) -> None:
        """Run the job unless it is running, in which case this tick is skipped."""
        with self._state:
            if not self._busy:
                self._due = True
                self._state.notify_all()

    def request(self) -> None:
        """Run the job now, or once more as soon as the run in progress ends."""
        with self._state:
            self._due = True
            self._state.notify_all()

    def wait_until_idle(self, timeout: float) -> bool:
        """Wait until no run is in progress or pending; return whether that came within `timeout` s.

        For simulated time that waits for the inference.
        """
        with self._state:
            return self._state.wait_for(
                lambda: self._ended or not (self._busy or self._due), timeout
            )

    def stop(self) -> None:
        """Start no further run and wait for the one in progress; may be called twice."""
        with self._state:
            self._ended = True
            self._state.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._state:
                self._busy = False
                self._state.notify_all()
                self._state.wait_for(lambda: self._due or self._ended)
                if self._ended:
                    return
                self._due, self._busy = False, True
            try:
                self._job()
            except Exception as error:
                self._failed(error)
