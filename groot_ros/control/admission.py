"""Which chunks may be executed: whose, of when, and for which joints."""

from collections.abc import Sequence

import numpy as np

from groot_ros.control.rejection import Rejection
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import ActionChunk, ActionGroup, ActionKind, ns_to_s, s_to_ns
from groot_ros.robot import RobotContract

_SUPPORTED = (ActionKind.JOINT_POSITION, ActionKind.GRIPPER)
#: s per step that a chunk may have; anything else is a mistake of units.
_STEP_RANGE = (0.001, 1.0)
#: Chunks that may be missing in a row; after a larger number none of the session could follow.
_LARGEST_LEAP = 1_000_000


class Admission:
    """Judges chunks one by one and remembers whose turn it is.

    One session is live. It stays so until it has been silent for `session_timeout`; a chunk of
    another one before that means two policies at once.
    """

    def __init__(self, contract: RobotContract, joint_names: Sequence[str]) -> None:
        self._joints = contract.joints
        self._required = tuple(joint_names)
        self.forget()

    def forget(self) -> None:
        """As at the start: any session, any episode."""
        self._session: str | None = None
        self._heard_ns = 0
        self._episode = 0
        self._last_id = -1
        self._instruction_id = 0
        self._ended_instruction: int | None = None
        self._not_before_ns: int | None = None

    def end_session(self, session: str) -> None:
        """The policy itself ended this session: another one may begin at once."""
        if session == self._session:
            self._session = None

    def only_after(self, now_ns: int) -> None:
        """Refuse chunks of observations up to now: what they saw ended in a stop."""
        self._not_before_ns = now_ns

    def end_instruction(self) -> None:
        """Refuse further chunks of the instruction in force."""
        if self._session is not None:
            self._ended_instruction = self._instruction_id

    def begin_instruction(self) -> None:
        """Take back end_instruction()."""
        self._ended_instruction = None

    def judge(self, chunk: ActionChunk, now_ns: int, settings: ExecutorConfig) -> Rejection | None:
        """Why the chunk is rejected, or None; what it says of its session is remembered."""
        return (
            self._judge_session(chunk, now_ns, settings)
            or self._judge_time(chunk, now_ns, settings)
            or self._judge_joints(chunk)
        )

    def accept(self, chunk: ActionChunk) -> None:
        """The chunk is being executed: older ones are now out of date."""
        self._episode = chunk.episode
        self._last_id = chunk.id
        self._instruction_id = chunk.instruction_id

    def _judge_session(
        self, chunk: ActionChunk, now_ns: int, settings: ExecutorConfig
    ) -> Rejection | None:
        if chunk.session != self._session:
            silent = ns_to_s(now_ns - self._heard_ns)
            if self._session is not None and silent < settings.session_timeout:
                return Rejection(
                    "second_policy",
                    f"session {chunk.session} sends while {self._session} is live "
                    f"({silent:.2f} s ago): two policies drive one robot, stop one",
                )
            self._session = chunk.session
            self._episode, self._last_id, self._ended_instruction = chunk.episode, -1, None
        self._heard_ns = now_ns
        if chunk.episode < self._episode:
            return Rejection(
                "old_episode", f"episode {chunk.episode}, the present one is {self._episode}"
            )
        if chunk.episode == self._episode and chunk.id <= self._last_id:
            return Rejection("out_of_order", f"chunk {chunk.id} after chunk {self._last_id}")
        if chunk.episode == self._episode and self._last_id >= 0:
            leap = chunk.id - self._last_id
            if leap > _LARGEST_LEAP:
                return Rejection("out_of_order", f"chunk {chunk.id} right after {self._last_id}")
        if chunk.instruction_id == self._ended_instruction:
            return Rejection(
                "instruction_ended", f"'{chunk.instruction}' was ended by the operator"
            )
        return None

    def _judge_time(
        self, chunk: ActionChunk, now_ns: int, settings: ExecutorConfig
    ) -> Rejection | None:
        low, high = _STEP_RANGE
        if not low <= chunk.dt <= high:
            return Rejection("bad_dt", f"steps of {chunk.dt:g} s, expected {low:g} to {high:g} s")
        if chunk.horizon < 2:
            return Rejection("too_short", "a single step says nothing of motion")
        age = ns_to_s(now_ns - chunk.stamp_ns)
        if age < -settings.max_future:
            return Rejection(
                "future_stamp",
                f"observed {-age:.3f} s from now: the clocks of the machines disagree",
            )
        if age > settings.max_chunk_age:
            return Rejection(
                "too_old", f"observed {age:.3f} s ago, max_chunk_age is {settings.max_chunk_age:g}"
            )
        if self._not_before_ns is not None and chunk.stamp_ns <= self._not_before_ns:
            return Rejection("before_stop", "observed before the last stop or start")
        if chunk.start_ns - chunk.stamp_ns >= s_to_ns(settings.max_chunk_age):
            return Rejection("future_start", "its first step lies beyond max_chunk_age")
        return None

    def _judge_joints(self, chunk: ActionChunk) -> Rejection | None:
        present = set()
        for group in chunk.groups:
            if group.kind not in _SUPPORTED:
                return Rejection(
                    "unsupported_kind",
                    f"group '{group.name}' is {group.kind.name}; this executor drives "
                    f"{' and '.join(k.name for k in _SUPPORTED)}",
                )
            for name, unit in zip(group.names, group.units, strict=True):
                if name not in self._joints:
                    return Rejection(
                        "unknown_joint", f"'{name}' of group '{group.name}' is not in the contract"
                    )
                expected = self._joints[name].unit
                if unit != expected:
                    return Rejection("wrong_unit", f"'{name}' comes in '{unit}', not '{expected}'")
                present.add(name)
            if nonsense := self._no_plan(group):
                return nonsense
        missing = [name for name in self._required if name not in present]
        if missing:
            return Rejection("missing_joint", f"no group commands {', '.join(missing)}")
        return None

    def _no_plan(self, group: ActionGroup) -> Rejection | None:
        """Limits would bring a joint to its end at full speed on its way there."""
        for name, unit, values in zip(group.names, group.units, group.values.T, strict=True):
            limits = self._joints[name].limits
            beyond = np.maximum(values - limits.upper, limits.lower - values)
            step = int(np.argmax(beyond))
            if beyond[step] > limits.upper - limits.lower:
                return Rejection(
                    "out_of_range",
                    f"'{name}' is sent to {values[step]:g} {unit} in step {step}, its limits are "
                    f"{limits.lower:g} to {limits.upper:g}",
                )
        return None
