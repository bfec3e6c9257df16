# SPDX-License-Identifier: Apache-2.0
"""Validation of received chunks: session and order, time, joints; and the rejections."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import (
    CHUNK_DT,
    CHUNK_STEPS,
    ActionChunk,
    ActionGroup,
    ActionKind,
    is_blank,
    ns_to_s,
    s_to_ns,
)
from groot_ros.core.printable import MAX_MESSAGE, printable
from groot_ros.robot import RobotContract

_SUPPORTED_KINDS = (ActionKind.JOINT_POSITION, ActionKind.GRIPPER)
#: Largest step of the chunk id. After a larger one no further chunk of the session could be newer.
_MAX_ID_STEP = 1_000_000
#: Number of sessions whose instructions are remembered.
_MAX_SESSIONS = 8
#: A single chunk with a wrong number, as of another program, ends the motion until then.
_WAY_OUT = "if all chunks are rejected for this, call ~/reset of the executor (groot-ros reset)"


@dataclass(frozen=True)
class Rejection:
    """Why a chunk or a joint state was not used.

    Attributes:
        reason: short snake_case code, stable, for counting and comparing.
        detail: one line: what is wrong, where, how to fix it.

    """

    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason}: {printable(self.detail, MAX_MESSAGE)}"


class ChunkValidator:
    """Checks chunks one by one and keeps track of the live session.

    One session is live until no chunk of it has arrived for `session_timeout`. A chunk of another
    session before that means that two policies are running.

    Attributes:
        live_session: None if any session may start.
        instruction: number and text of the instruction that is followed; the text is empty after a
            stop, the number is 0 before the first instruction of the live session.

    """

    def __init__(self, contract: RobotContract, joint_names: Sequence[str]) -> None:
        self._joints = contract.joints
        self._required = tuple(joint_names)
        #: Whether the operator has requested a chunk with `single_step`; kept by reset().
        self._step_requested = False
        #: Session -> number of its instruction, and those that a stop has ended; kept by reset().
        self._announced: dict[str, int] = {}
        self._stopped: dict[str, int] = {}
        self.reset()

    def reset(self) -> None:
        """Accept any session and any episode again; instructions that were stopped stay ended."""
        self.live_session: str | None = None
        self._last_chunk_ns = 0
        self._episode = 0
        self._last_id = -1
        self._instruction_id = 0
        self.instruction = 0, ""
        self._ended_instruction: int | None = None
        self._not_before_ns: int | None = None

    def end_session(self, session: str) -> None:
        """Accept another session immediately: the policy has ended this one."""
        if session == self.live_session:
            self.live_session = None

    def reject_observed_until(self, now_ns: int) -> None:
        """Reject chunks of observations up to now, as after a stop."""
        self._not_before_ns = now_ns

    def set_instruction(self, text: str, instruction_id: int | None = None) -> None:
        """Record the instruction that is followed; without a number it keeps its own.

        Before the first chunk of a session there is none, and so none to end.
        """
        if self.live_session is not None:
            own = self.instruction[0] if instruction_id is None else instruction_id
            self.instruction = own, "" if is_blank(text) else text

    def end_instruction(self) -> None:
        """Reject further chunks of the current instruction."""
        if self.live_session is not None:
            self._ended_instruction = self._instruction_id

    def announce_instruction(self, session: str, text: str, instruction_id: int) -> None:
        """Record the instruction of a policy, which may not have sent a chunk yet."""
        if not is_blank(text):
            # Given again after the stop, or new.
            self._stopped.pop(session, None)
        self._announced.pop(session, None)
        self._announced[session] = instruction_id
        if len(self._announced) > _MAX_SESSIONS:
            del self._announced[next(iter(self._announced))]

    def stop_instruction(self) -> None:
        """Reject further chunks of all instructions so far, also of those without a chunk yet."""
        self._stopped = dict(self._announced)
        self.end_instruction()

    def restore_instruction(self) -> None:
        """Accept chunks of an ended instruction again."""
        self._ended_instruction = None
        self._stopped = {}

    def check(self, chunk: ActionChunk, now_ns: int, settings: ExecutorConfig) -> Rejection | None:
        """Return why the chunk is rejected, or None; updates the live session.

        A chunk that is too old or malformed does not make its session the live one: the chunks of
        a bag that is played would keep the policy out.
        """
        if chunk.session == self.live_session:
            self._last_chunk_ns = now_ns
            rejection = self._check_order(chunk) or self._check_stopped(chunk)
            return rejection or self._check_content(chunk, now_ns, settings)
        rejection = (
            self._check_other_session(chunk, now_ns, settings)
            or self._check_stopped(chunk)
            or self._check_content(chunk, now_ns, settings)
        )
        if rejection is None:
            self.live_session, self._last_chunk_ns = chunk.session, now_ns
            self._episode, self._last_id, self._ended_instruction = chunk.episode, -1, None
            self.instruction = 0, ""
        return rejection

    def request_step(self, now_ns: int) -> None:
        """With `single_step`, let one chunk pass that is observed after now."""
        self._step_requested = True
        self.reject_observed_until(now_ns)

    def check_step(self, settings: ExecutorConfig) -> Rejection | None:
        """Return why no chunk may be executed by single steps now, or None."""
        if settings.single_step and not self._step_requested:
            return Rejection("awaiting_step", "single step: call step for the next chunk")
        return None

    def accept(self, chunk: ActionChunk) -> None:
        """Record that the chunk is executed: chunks before it are out of date."""
        self._step_requested = False
        self._episode = chunk.episode
        self._last_id = chunk.id
        self._instruction_id = chunk.instruction_id
        self.instruction = chunk.instruction_id, chunk.instruction

    def _check_other_session(
        self, chunk: ActionChunk, now_ns: int, settings: ExecutorConfig
    ) -> Rejection | None:
        silence = ns_to_s(now_ns - self._last_chunk_ns)
        if self.live_session is None or silence >= settings.session_timeout:
            return None
        return Rejection(
            "second_policy",
            f"session {chunk.session} sends chunks while {self.live_session} is live "
            f"(last chunk {silence:.2f} s ago): stop one of the two policies",
        )

    def _check_content(
        self, chunk: ActionChunk, now_ns: int, settings: ExecutorConfig
    ) -> Rejection | None:
        return self._check_time(chunk, now_ns, settings) or self._check_joints(chunk)

    def _check_order(self, chunk: ActionChunk) -> Rejection | None:
        if chunk.episode < self._episode:
            return Rejection(
                "old_episode",
                f"chunk of episode {chunk.episode}, the current episode is {self._episode}; "
                f"{_WAY_OUT}",
            )
        if chunk.episode == self._episode and chunk.id <= self._last_id:
            return Rejection(
                "out_of_order", f"chunk {chunk.id} after chunk {self._last_id}; {_WAY_OUT}"
            )
        if chunk.episode == self._episode and self._last_id >= 0:
            step = chunk.id - self._last_id
            if step > _MAX_ID_STEP:
                return Rejection(
                    "out_of_order",
                    f"chunk {chunk.id} right after chunk {self._last_id}: ids may skip at most "
                    f"{_MAX_ID_STEP}; {_WAY_OUT}",
                )
        if chunk.instruction_id == self._ended_instruction:
            return _ended(chunk)
        return None

    def _check_stopped(self, chunk: ActionChunk) -> Rejection | None:
        if chunk.instruction_id <= self._stopped.get(chunk.session, -1):
            return _ended(chunk)
        return None

    def _check_time(
        self, chunk: ActionChunk, now_ns: int, settings: ExecutorConfig
    ) -> Rejection | None:
        low, high = CHUNK_DT
        if not low <= chunk.dt <= high:
            return Rejection("bad_dt", f"dt {chunk.dt:g} s is out of range [{low:g}, {high:g}] s")
        if chunk.horizon < CHUNK_STEPS[0]:
            return Rejection(
                "horizon_too_short",
                f"the chunk has {chunk.horizon} step, at least {CHUNK_STEPS[0]} are needed",
            )
        age = ns_to_s(now_ns - chunk.stamp_ns)
        if age < -settings.max_future:
            return Rejection(
                "future_stamp",
                f"the observation is stamped {-age:.3f} s in the future: synchronise the clocks "
                "of the machines",
            )
        if age > settings.max_chunk_age:
            return Rejection(
                "too_old",
                f"the observation is {age:.3f} s old, max_chunk_age is {settings.max_chunk_age:g}",
            )
        if self._not_before_ns is not None and chunk.stamp_ns <= self._not_before_ns:
            return Rejection("before_stop", "observed before the last stop or start")
        if chunk.start_ns - chunk.stamp_ns >= s_to_ns(settings.max_chunk_age):
            return Rejection(
                "start_too_late",
                "the first step is due later than max_chunk_age after the observation",
            )
        return None

    def _check_joints(self, chunk: ActionChunk) -> Rejection | None:
        present = set()
        for group in chunk.groups:
            if group.kind not in _SUPPORTED_KINDS:
                return Rejection(
                    "unsupported_kind",
                    f"group '{group.name}' is {group.kind.name}, supported are "
                    f"{' and '.join(k.name for k in _SUPPORTED_KINDS)}",
                )
            for name, unit in zip(group.names, group.units, strict=True):
                if name not in self._joints:
                    return Rejection(
                        "unknown_joint",
                        f"joint '{name}' of group '{group.name}' is not in the robot contract",
                    )
                expected = self._joints[name].unit
                if unit != expected:
                    return Rejection(
                        "wrong_unit", f"joint '{name}' is in '{unit}', expected '{expected}'"
                    )
                present.add(name)
            if out_of_range := self._check_range(group):
                return out_of_range
        missing = [name for name in self._required if name not in present]
        if missing:
            return Rejection("missing_joint", f"no group commands {', '.join(missing)}")
        return None

    def _check_range(self, group: ActionGroup) -> Rejection | None:
        """Reject values outside the limits by more than the range of the joint.

        Clipping such a value would move the joint to its end stop at full speed.
        """
        for name, unit, values in zip(group.names, group.units, group.values.T, strict=True):
            limits = self._joints[name].limits
            beyond = np.maximum(values - limits.upper, limits.lower - values)
            step = int(np.argmax(beyond))
            if beyond[step] > limits.upper - limits.lower:
                return Rejection(
                    "out_of_range",
                    f"'{name}' is commanded to {values[step]:g} {unit} in step {step}, its limits "
                    f"are {limits.lower:g} to {limits.upper:g}",
                )
        return None


def _ended(chunk: ActionChunk) -> Rejection:
    return Rejection("instruction_ended", f"the operator has ended '{chunk.instruction}'")
