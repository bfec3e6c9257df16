# SPDX-License-Identifier: Apache-2.0
"""Policies whose actions are two poses on a table: observations to chunks of a planned motion.

While the robot rests, the model takes a step, and a primitive turns its poses into a joint path.
The path is sent as overlapping chunks, like those of any policy; after its end, the next step
follows. An action that is not executed to its end is taken back, and the model decides again from
what the cameras then show.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from groot_ros.core import (
    NS_PER_S,
    ActionChunk,
    CommittedTimeline,
    NoChunkError,
    Observation,
    Prefix,
    ToolPose,
    s_to_ns,
)
from groot_ros.core.prompt import Pictures
from groot_ros.families.family import (
    PickPlaceModel,
    PickPlaceSession,
    PolicySpec,
    UnusableObjectsError,
)
from groot_ros.policy.arm_planner import MotionPlanner
from groot_ros.policy.path_stream import ExecutionReport, PathStream, committed_start
from groot_ros.policy.robot_columns import joint_group
from groot_ros.robot import RobotContract

#: s from the end of a path until images show the result of its action.
SETTLING_TIME = 0.4
#: s from the plan of a path to its start, so that its first steps are not late.
START_DELAY = 0.1
#: rad or m between committed and measured positions above which the committed ones are old.
_START_TOLERANCE = 0.2
#: rad or m between the committed motion and the path above which the executor has left it.
_PATH_TOLERANCE = 0.3


@dataclass(frozen=True)
class TorchEngine:
    """Name of the engine, where a `Policy` has an engine."""

    name: str = "torch"


class PickPlacePolicy:
    """Model, planner and robot; used by `observation.inference` as a `Policy` is.

    Attributes:
        spec: inputs and outputs of the checkpoint.
        checkpoint_hash: digest of the checkpoint.
        device: description of the device.
        memory_bytes: memory of the model's weights.
        dt: time between the steps of a chunk, s.
        first_step: time from the observation to the first step of its chunk, s.
        joint_groups: groups that real-time chunking conditions: none.
        engine: has the name of the engine.
        action_rejection: why the last action was not executed, with its poses; "" if it is.
        on_action: called with the poses of each action that is going to be executed.
        clock: returns ROS time, ns.

    """

    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    joint_groups: tuple[str, ...] = ()
    first_step = 0.0
    engine = TorchEngine()

    def __init__(
        self,
        spec: PolicySpec,
        model: PickPlaceModel,
        planner: MotionPlanner,
        robot: RobotContract,
        checkpoint_hash: str = "",
        device: str = "cpu",
    ) -> None:
        self.spec, self.device, self.checkpoint_hash = spec, device, checkpoint_hash
        self.memory_bytes = model.memory_bytes
        self.dt = robot.action_dt
        self.action_rejection = ""
        self.on_action: Callable[[tuple[ToolPose, ToolPose]], None] = lambda _: None
        self.clock: Callable[[], int] = time.time_ns
        self._model, self._planner, self._robot = model, planner, robot
        self._low, self._high = zip(planner.table.x, planner.table.y, strict=True)
        self._arm = frozenset(n for n, joint in robot.joints.items() if joint.gripper is None)
        # The model is used by the inference, and for prompts by services.
        self._lock = Lock()
        self._timeline: CommittedTimeline | None = None
        self._report: ExecutionReport | None = None
        self._task: int | None = None
        self._session: PickPlaceSession | None = None
        self._stream: PathStream | None = None

    def set_timeline(self, timeline: CommittedTimeline) -> None:
        """Store the newest timeline of the executor; from any thread."""
        self._timeline = timeline

    def record_executor(self, report: ExecutionReport) -> None:
        """Store the newest report of the executor; from any thread."""
        self._report = report

    def prompt_problem(self, text: str, pictures: Pictures) -> str:
        """Return why the model cannot follow a prompt, or an empty string."""
        try:
            with self._lock:
                self._model.session(text, pictures, self._low, self._high)
        except ValueError as error:
            return str(error)
        return ""

    def reset(self) -> None:
        """Forget the task and its actions; the next inference begins it again."""
        self._task = self._session = self._stream = None
        self.action_rejection = ""

    def warm_up(self) -> float:
        """Run a step on drawn objects; return the time of a second one, s."""
        with self._lock:
            self._model.warm_up(self._low, self._high)
            began = time.perf_counter()
            self._model.warm_up(self._low, self._high)
        return time.perf_counter() - began

    def infer(
        self, observation: Observation, prefix: Prefix | None = None, seed: int | None = None
    ) -> ActionChunk:
        """Return the next chunk of the motion.

        Args:
            observation: images with labels, the positions of all measured joints, and the prompt.
            prefix: ignored: the motion is planned from what is committed.
            seed: ignored: nothing is random.

        Raises:
            NoChunkError: bad_prompt, unusable_objects, no_action, unreachable_pose, still_moving,
                estopped, on_hold, executor_stopped.

        """
        began = time.perf_counter()
        if observation.instruction_id != self._task:
            self.reset()
            self._session = self._new_session(observation)
            self._task = observation.instruction_id
        self._follow_executor(observation)
        inferred = began
        if self._stream is None or self._stream.remaining < -SETTLING_TIME:
            self._stream, inferred = self._next_stream(observation)
        targets = self._stream.sample(self.dt, self.spec.horizon)
        column = {joint: i for i, joint in enumerate(self._stream.path.joints)}
        return ActionChunk(
            stamp_ns=observation.stamp_ns,
            start_ns=observation.stamp_ns,
            dt=self.dt,
            groups=tuple(
                joint_group(self._robot, name, targets[:, [column[j] for j in group.joints]])
                for name, group in self._robot.action_groups.items()
                if group.maps
            ),
            instruction=observation.instruction,
            checkpoint_hash=self.checkpoint_hash,
            embodiment=self.spec.embodiment,
            engine=self.engine.name,
            inputs=observation.inputs,
            stage_seconds={
                "policy": inferred - began,
                "motion": time.perf_counter() - inferred,
            },
            num_inference_steps=1,
        )

    def close(self) -> None:
        """Release the session; the policy cannot infer afterwards."""
        self.reset()

    def _new_session(self, observation: Observation) -> PickPlaceSession:
        try:
            with self._lock:
                return self._model.session(
                    observation.instruction, observation.pictures, self._low, self._high
                )
        except ValueError as error:
            raise NoChunkError("bad_prompt", str(error)) from error

    def _follow_executor(self, observation: Observation) -> None:
        """Let the stream advance as the robot does; drop it if the executor does not follow it."""
        report = self._report
        if self._stream is not None:
            why = self._stream.interruption(report, self.clock())
            self._stream.advance(observation.stamp_ns, report)
            distance = self._stream.deviation(self._timeline, self._arm)
            if not why and distance > _PATH_TOLERANCE:
                why = f"the committed motion is {distance:.2f} rad or m away from the path"
            if why and self._stream.remaining > 0 and self._session is not None:
                self._session.take_back()
                self.action_rejection = f"not finished: {why}"
            if why:
                self._stream = None
        if report is not None and report.stop:
            raise NoChunkError(report.stop, f"the executor accepts no chunks: {report.reason}")

    def _next_stream(self, observation: Observation) -> tuple[PathStream, float]:
        """Take a step and plan its motion; return its stream, and when the model had answered."""
        assert self._session is not None
        start = self._start(observation)
        try:
            with self._lock:
                action = self._session.step(
                    {view: frames[-1] for view, frames in observation.images.items()},
                    {view: labels[-1] for view, labels in observation.labels.items()},
                    self._planner.tool,
                )
        except UnusableObjectsError as error:
            raise NoChunkError("unusable_objects", str(error)) from error
        except ValueError as error:
            raise NoChunkError("no_action", str(error)) from error
        inferred = time.perf_counter()
        try:
            path = self._planner.plan(start, action)
        except ValueError as error:
            self._session.take_back()
            self.action_rejection = str(error)
            raise NoChunkError("unreachable_pose", str(error)) from error
        self.action_rejection = ""
        self.on_action(self._planner.poses(action))
        now = max(self.clock(), observation.stamp_ns)
        stream = PathStream(path, now + s_to_ns(START_DELAY), observation.stamp_ns)
        return stream, inferred

    def _start(self, observation: Observation) -> dict[str, float]:
        """Return the position of every commanded joint, where the robot rests.

        Joints that nothing measures are where they were commanded to, at first at their open end.
        """
        robot = self._robot
        start = {
            name: joint.gripper.open
            for name, joint in robot.joints.items()
            if joint.gripper is not None
        }
        measured = {
            joint: float(observation.state[group][-1, column])
            for group, joints in robot.state_groups.items()
            if group in observation.state
            for column, joint in enumerate(joints)
        }
        timeline = self._timeline
        now = max(self.clock(), observation.stamp_ns) + NS_PER_S // 10
        if timeline is None:
            return {**start, **measured}
        committed = committed_start(timeline, measured, now, _START_TOLERANCE)
        if committed is None:
            raise NoChunkError("still_moving", "waiting for the robot to come to rest")
        return {**start, **committed}
