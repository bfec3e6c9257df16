# SPDX-License-Identifier: Apache-2.0
"""The policy node: cameras, joint states and an instruction in, action chunks out.

Model and subscriptions exist from configure to cleanup, the session from activate to deactivate.
Inference runs in a separate thread; callbacks only store what arrives.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.subscription import Subscription
from std_srvs.srv import Trigger

from groot_ros.bridge import qos, rclpy_patches
from groot_ros.bridge.competing_inputs import COMPETING_PUBLISHERS
from groot_ros.bridge.diagnosis import PolicyDiagnosis, diagnostic_array
from groot_ros.bridge.instruction_mismatch import HeldInstruction, InstructionMismatch
from groot_ros.bridge.joint_state_output import JointStateOutput, last_step
from groot_ros.bridge.messages import chunk_to_msg
from groot_ros.bridge.parameters import Parameters
from groot_ros.bridge.policy_status import (
    Activation,
    FollowedInstruction,
    LoadedPolicy,
    policy_status,
)
from groot_ros.checks import require
from groot_ros.control.rtc import Continuation
from groot_ros.core import (
    NS_PER_S,
    PROPOSED_JOINT_STATES,
    ActionChunk,
    ChunkOrigin,
    MalformedError,
    PolicyConfig,
    Prefix,
    instruction_problem,
    is_blank,
    s_to_ns,
    time_to_ns,
)
from groot_ros.core.messages import timeline_from_msg
from groot_ros.core.prompt import Pictures
from groot_ros.core.share import robot_path
from groot_ros.msg import ActionChunk as ActionChunkMsg
from groot_ros.msg import CommittedTimeline as CommittedTimelineMsg
from groot_ros.msg import ExecutorState as ExecutorStateMsg
from groot_ros.msg import Instruction as InstructionMsg
from groot_ros.msg import PolicyStatus
from groot_ros.nodes.camera_watch import CameraWatch
from groot_ros.nodes.instruction_channel import InstructionChannel
from groot_ros.nodes.lifecycle import ManagedNode, SetupError
from groot_ros.nodes.pick_place_link import PickPlaceLink
from groot_ros.nodes.policy_inputs import PolicyInputs
from groot_ros.nodes.policy_setup import (
    DelayedPolicy,
    checked,
    continuation_of,
    load,
    observation_spec,
    prompt_problem,
    set_threads,
)
from groot_ros.nodes.run import run
from groot_ros.observation.buffer import ObservationBuffer
from groot_ros.observation.inference import Inference, Worker
from groot_ros.observation.inference_stats import InferenceStats, StepBudget
from groot_ros.observation.instruction import Instruction, InstructionBox
from groot_ros.observation.rejections import EXPECTED_REJECTIONS, RejectionCounts
from groot_ros.observation.spec import SyncTolerances
from groot_ros.policy.pick_place import PickPlacePolicy
from groot_ros.robot import RobotContract, load_contract
from groot_ros.vision.camera_check import CameraResult, CameraStatus

if TYPE_CHECKING:
    from groot_ros.policy import Policy

#: s between reports of the status.
_STATUS_PERIOD = 0.5
#: s between reports on /diagnostics.
_DIAGNOSTICS_PERIOD = 1.0
#: s between looks at an inference that is waited for.
_IDLE_POLL = 0.002
#: Time in which the same reason is logged only once, ns.
_QUIET_NS = 5 * NS_PER_S
#: Time in which a warning about the same input is logged only once, ns.
_QUIET_WARNING_NS = 60 * NS_PER_S
#: Rejections that are logged as errors.
_ERRORS = {"inference_error", COMPETING_PUBLISHERS, "played_instruction"}


class PolicyNode(ManagedNode):
    """Wiring of the policy: observation/ assembles observations and runs the inference.

    Args:
        load_policy: has the signature of groot_ros.policy.loading.load_robot_policy.

    """

    def __init__(self, load_policy: Callable[..., "Policy | PickPlacePolicy"] = load) -> None:
        super().__init__("policy_node")
        self._load_policy = load_policy
        self._settings = Parameters(self, PolicyConfig)
        self._settings.on_change(self._on_setting)
        self._instructions = InstructionBox()
        self._mismatch = InstructionMismatch()
        self._rejections = RejectionCounts(_QUIET_NS, once=EXPECTED_REJECTIONS)
        self._warnings = RejectionCounts(_QUIET_WARNING_NS)
        self._diagnosis = PolicyDiagnosis(self.get_name())
        self._contract: RobotContract | None = None
        self._cameras: CameraWatch | None = None
        self._joint_names: tuple[str, ...] = ()
        self._policy: Policy | PickPlacePolicy | None = None
        self._link: PickPlaceLink | None = None
        self._buffer: ObservationBuffer | None = None
        self._inference: Inference | None = None
        self._delayed: DelayedPolicy | None = None
        self._worker: Worker | None = None
        self._inputs: PolicyInputs | None = None
        self._timelines: Subscription | None = None
        self._states: Subscription | None = None
        self._continuation: Continuation | None = None
        self._progress = ("", -1)
        #: Session while active, else empty.
        self._session = ""
        self._input_group = MutuallyExclusiveCallbackGroup()
        self._own_group = ReentrantCallbackGroup()
        steady = Clock(clock_type=ClockType.STEADY_TIME)

        self._chunks = self.create_publisher(ActionChunkMsg, "action_chunk", qos.COMMAND)
        self._proposals = JointStateOutput(self, PROPOSED_JOINT_STATES)
        self._status = self.create_publisher(PolicyStatus, "policy_status", qos.LATCHED)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.DRIVER)
        own = self._own_group
        self._channel = InstructionChannel(
            self,
            self._instructions,
            self._on_instruction,
            self._reject,
            lambda: self._session,
            lambda: self._settings.config.accept_instruction_topic,
            self._prompt_problem,
            own,
        )
        self.create_service(Trigger, "~/reset", self._on_reset, callback_group=own)
        self.create_timer(
            _STATUS_PERIOD, lambda: self._publish_status(), callback_group=own, clock=steady
        )
        self.create_timer(_DIAGNOSTICS_PERIOD, self._diagnose, callback_group=own, clock=steady)
        # Never destroyed: rclpy's executor raises if a timer is cancelled while it is due.
        self._ticks = self.create_timer(
            1.0,
            self._on_tick,
            callback_group=own,
            clock=self.get_clock() if self.get_parameter("use_sim_time").value else steady,
        )

    def setup(self) -> None:
        """Load the model and subscribe to its inputs."""
        settings = self._settings
        settings.lock()
        self._rejections = RejectionCounts(_QUIET_NS, once=EXPECTED_REJECTIONS)
        self._warnings = RejectionCounts(_QUIET_WARNING_NS)
        if not settings.config.checkpoint:
            raise SetupError("parameter checkpoint is not set: give the directory of a checkpoint")
        if problem := instruction_problem(settings.config.instruction):
            raise SetupError(f"parameter instruction: {problem}")
        try:
            threads = set_threads(settings.config)
            contract = load_contract(robot_path(settings.config.robot))
            policy = self._policy = self._load_policy(
                settings.config,
                robot=contract,
                progress=self._on_progress,
                # Before the weights are read, which takes long.
                check=lambda spec: require(checked(settings.config, contract, spec)),
            )
        except ValueError as error:
            raise SetupError(str(error)) from error
        self._contract = contract
        self._joint_names = contract.joint_names
        self.get_logger().info(f"torch runs on {threads} CPU thread{'s' if threads > 1 else ''}")
        for note in policy.notes:
            # Two calls, because rclpy allows only one severity per call site.
            if note in policy.warnings:
                self.get_logger().warning(note)
            else:
                self.get_logger().info(note)
        self._check(contract, policy, policy.warm_up())
        self._instructions.set_if_unset(
            settings.config.instruction, InstructionMsg.SOURCE_PARAMETER
        )
        self._buffer = ObservationBuffer(
            contract,
            observation_spec(policy.spec, contract),
            SyncTolerances.of_config(settings.config),
            self._warn_of_input,
        )
        self._inputs = PolicyInputs(self, self._buffer, self._reject, self._input_group)
        self._continuation = continuation_of(settings.config, policy, contract)
        if isinstance(policy, PickPlacePolicy) and contract.table is not None:
            self._link = PickPlaceLink(self, policy, contract.table.frame)
        self._timelines = self.create_subscription(
            CommittedTimelineMsg,
            "committed_timeline",
            self._on_timeline,
            qos.LATCHED,
            callback_group=self._input_group,
            event_callbacks=rclpy_patches.NO_SUBSCRIPTION_EVENTS,
        )
        self._states = self.create_subscription(
            ExecutorStateMsg,
            "executor_state",
            self._on_executor_state,
            qos.LATCHED,
            callback_group=self._input_group,
            event_callbacks=rclpy_patches.NO_SUBSCRIPTION_EVENTS,
        )
        self._channel.check_present()
        self._publish_status(State.PRIMARY_STATE_INACTIVE)
        self._channel.publish()

    def _check(
        self, contract: RobotContract, policy: "Policy | PickPlacePolicy", latency: float
    ) -> None:
        """Log the warnings of all checks; raise SetupError for an error."""
        try:
            warnings = require(checked(self._settings.config, contract, policy.spec, latency))
        except ValueError as error:
            raise SetupError(str(error)) from error
        for warning in warnings:
            self.get_logger().warning(f"{warning.check}: {warning}")

    def start(self) -> None:
        """Begin a session and publish chunks."""
        assert self._policy is not None
        assert self._buffer is not None
        assert self._contract is not None
        self._cameras = CameraWatch(
            self._settings.config,
            self._contract,
            self.get_namespace(),
            self._buffer,
            self._on_camera,
            lambda note: self.get_logger().info(note),
            lambda error: self.handle_exception("camera check", error),
        )
        self._cameras.start()
        seed = self._settings.config.noise_seed
        delay = self._settings.config.added_delay
        self._delayed = DelayedPolicy(self._policy, delay, self._now) if delay else None
        self._inference = Inference(
            self._delayed or self._policy,
            self._buffer,
            self._instructions,
            self._now,
            self._publish_chunk,
            self._reject,
            None if seed < 0 else seed,
            self._prefix_for,
        )
        self._worker = Worker(self._inference.step, self._on_worker_error, "inference")
        self._ticks.timer_period_ns = s_to_ns(1.0 / self._settings.config.rate_hz)
        self._ticks.reset()
        self._session = self._inference.session
        if self._inputs is not None:
            self._inputs.begin()
        self._publish_status(State.PRIMARY_STATE_ACTIVE)
        self._channel.publish()

    def stop(self) -> None:
        """End the session, then wait for the inference in progress."""
        if self._delayed is not None:
            self._delayed.end()
        if self._inference is not None:
            self._inference.end()
        if self._worker is not None:
            self._worker.stop()
            self._worker = None
        if self._cameras is not None:
            self._cameras.stop()
        self._session = ""
        self._publish_status(State.PRIMARY_STATE_INACTIVE)
        self._channel.publish()

    def teardown(self) -> None:
        """Destroy the subscriptions and release the model."""
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None
        for subscription in (self._timelines, self._states):
            if subscription is not None:
                self.destroy_subscription(subscription)
        self._timelines = self._states = None
        self._inference = self._buffer = self._continuation = self._cameras = None
        link, self._link = self._link, None
        if link is not None:
            link.close()
        policy, self._policy = self._policy, None
        if policy is not None:
            policy.close()
        self._settings.unlock()
        self._publish_status(State.PRIMARY_STATE_UNCONFIGURED)

    @property
    def instruction(self) -> Instruction:
        """Return the newest instruction."""
        return self._instructions.current

    def wait_until_idle(self) -> None:
        """Wait for the inference in progress, so that simulated time can wait for its chunk.

        With `added_delay` an inference itself waits for time to pass, which ends this wait.
        """
        worker, delayed = self._worker, self._delayed
        while worker is not None and not worker.wait_until_idle(_IDLE_POLL):
            if delayed is not None and delayed.waiting:
                return

    def _now(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _on_timeline(self, msg: CommittedTimelineMsg) -> None:
        continuation, link = self._continuation, self._link
        if continuation is None:
            return
        try:
            timeline = timeline_from_msg(msg)
        except MalformedError as error:
            self._reject(error.reason, f"committed timeline: {error.detail}")
            return
        continuation.set_timeline(timeline)
        if link is not None:
            link.set_timeline(timeline)

    def _on_executor_state(self, msg: ExecutorStateMsg) -> None:
        mismatch, own, now = self._mismatch, self._instructions.current, time.monotonic_ns()
        mismatch.record_policy(HeldInstruction(self._session, own.id, own.text), now)
        held = HeldInstruction(msg.session, msg.instruction_id, msg.instruction)
        mismatch.record_executor(held, now)
        if new := mismatch.update(now):
            self.get_logger().warning(new)
        if (link := self._link) is not None:
            link.on_executor_state(msg)

    def _prompt_problem(self, text: str, pictures: Pictures) -> str:
        policy = self._policy
        return "" if policy is None else prompt_problem(policy, text, pictures)

    def _prefix_for(self, origin: ChunkOrigin) -> Prefix | None:
        policy, inference, continuation = self._policy, self._inference, self._continuation
        if policy is None or inference is None or continuation is None:
            return None
        budget = self._budget(policy, inference)
        return continuation.prefix(origin, budget.inference_delay, budget.execution_horizon)

    def _budget(self, policy: "Policy | PickPlacePolicy", inference: Inference) -> StepBudget:
        rate = self._settings.config.rate_hz
        return inference.stats.budget(rate, policy.dt, policy.spec.horizon, self._now())

    def _on_tick(self) -> None:
        worker = self._worker
        if worker is not None:
            worker.tick()

    def _on_instruction(self) -> None:
        worker = self._worker
        if worker is not None:
            worker.request()
        self._publish_status()

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        inference, buffer = self._inference, self._buffer
        if inference is not None:
            inference.reset()
            response.message = f"episode {inference.episode}"
        elif buffer is not None:
            buffer.clear()
            response.message = "history cleared, no session yet"
        else:
            response.message = "nothing to reset: not configured"
        response.success = True
        self._publish_status()
        return response

    def _on_setting(self, config: PolicyConfig) -> None:
        if self._buffer is not None:
            self._buffer.tolerances = SyncTolerances.of_config(config)

    def _on_camera(self, result: CameraResult) -> None:
        # Two calls, because rclpy allows only one severity per call site.
        if result.status == CameraStatus.OK:
            self.get_logger().info(result.text)
        else:
            self.get_logger().warning(result.text)

    def _on_progress(self, stage: str, fraction: float) -> None:
        quarter = (stage, int(4 * fraction))
        if quarter != self._progress:
            self._progress = quarter
            self.get_logger().info(f"loading {stage}: {fraction:.0%}")

    def _on_worker_error(self, error: Exception) -> None:
        self.handle_exception("inference", error)

    def on_internal_error(self, what: str) -> None:
        """Count the error; without further chunks the executor brings the robot to rest."""
        self._rejections.record_rejection("internal_error", time.monotonic_ns())

    def _publish_chunk(self, chunk: ActionChunk) -> None:
        self._chunks.publish(chunk_to_msg(chunk))
        if self._proposals.subscribed:
            self._proposals.publish(self._now(), last_step(chunk, self._joint_names))
        self._rejections.rearm()

    def _reject(self, reason: str, detail: str) -> None:
        if not self._rejections.record_rejection(reason, time.monotonic_ns()):
            return
        if reason in _ERRORS:
            self.get_logger().error(f"{reason}: {detail}")
        elif reason in EXPECTED_REJECTIONS:
            self.get_logger().info(f"{reason}: {detail}")
        else:
            self.get_logger().warning(f"{reason}: {detail}")

    def _warn_of_input(self, name: str, text: str) -> None:
        if self._warnings.record_rejection(name, time.monotonic_ns()):
            self.get_logger().warning(text)

    def _publish_status(self, lifecycle: int | None = None) -> None:
        self._status.publish(self._current_status(lifecycle))

    def _diagnose(self) -> None:
        # The executor may have ended.
        self._mismatch.update(time.monotonic_ns())
        status, inputs = self._current_status(), self._inputs
        age = self._settings.config.max_image_age
        active = status.lifecycle == State.PRIMARY_STATE_ACTIVE
        missing = inputs.report_missing() if active and inputs is not None else ""
        idle = is_blank(self.instruction.text)
        warnings = self._mismatch.findings
        statuses = [self._diagnosis.status(status, age, missing, warnings, idle=idle)]
        stamp_ns = time_to_ns(status.header.stamp)
        robot = "" if self._contract is None else self._contract.robot
        self._diagnostics.publish(diagnostic_array(self, robot, stamp_ns, statuses))
        for problem in self._diagnosis.to_log:
            self.get_logger().warning(problem)

    def _current_status(self, lifecycle: int | None = None) -> PolicyStatus:
        now = self._now()
        policy, inference, buffer = self._policy, self._inference, self._buffer
        cameras = self._cameras
        target_rate = self._settings.config.rate_hz
        loaded, activation = LoadedPolicy(), Activation()
        stats, budget = InferenceStats(), StepBudget(0, 0, 0)
        current = self._instructions.current
        if policy is not None:
            loaded = LoadedPolicy(
                policy.engine.name, policy.device, policy.memory_bytes, policy.spec.horizon
            )
        if policy is not None and inference is not None:
            activation = Activation(inference.session, inference.episode)
            stats = inference.stats
            budget = self._budget(policy, inference)
        return policy_status(
            now,
            self.lifecycle_state if lifecycle is None else lifecycle,
            activation,
            FollowedInstruction(
                current.id, current.text, self._channel.rejection, self._mismatch.description
            ),
            loaded,
            target_rate,
            stats,
            budget,
            () if buffer is None else buffer.inputs(now),
            self._rejections.as_dict(),
            () if cameras is None else cameras.messages,
            "" if self._link is None else self._link.action_rejection,
        )


def main() -> None:
    """Run the policy node."""
    # One thread for a slow transition, one for inputs, two for services and timers.
    run(PolicyNode, threads=4)
