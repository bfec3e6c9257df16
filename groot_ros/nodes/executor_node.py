# SPDX-License-Identifier: Apache-2.0
"""The executor node: action chunks in, bounded motion to the controllers out.

Subscriptions and command publishers exist from configure to cleanup, the timer from activate to
deactivate. All callbacks run in one thread, so nothing here needs a lock.
"""

import gc
import time
from collections import deque
from dataclasses import replace

from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from groot_ros.bridge import qos
from groot_ros.bridge.graph_monitor import GraphMonitor
from groot_ros.bridge.gripper_action import MissingPackageError
from groot_ros.bridge.instruction_mismatch import HeldInstruction
from groot_ros.bridge.messages import timeline_to_msg
from groot_ros.bridge.parameters import Parameters
from groot_ros.checks import Context, require
from groot_ros.control import Executor, ExecutorConfig, Rejection, Update
from groot_ros.core import ExecutorState, MalformedError, ReasonCode, ns_to_s
from groot_ros.core.messages import chunk_from_msg
from groot_ros.core.share import robot_path
from groot_ros.msg import ActionChunk, CommittedTimeline
from groot_ros.nodes.executor_inputs import ExecutorInputs
from groot_ros.nodes.executor_reports import ExecutorReports
from groot_ros.nodes.lifecycle import ManagedNode, SetupError
from groot_ros.nodes.operator_services import OperatorServices
from groot_ros.nodes.realtime import TickBudget, TickTiming, request_realtime
from groot_ros.nodes.run import run
from groot_ros.robot import load_contract
from groot_ros.robot.controller import CommandOutput, controller_type

#: s between reports of an unchanged state.
_STATE_PERIOD = 0.1
#: s between reports on /diagnostics.
_DIAGNOSTICS_PERIOD = 1.0
#: Longest time that deactivation waits for a streamed stop, s.
_STREAMED_STOP_TIMEOUT = 2.0
#: Longest time that deactivation waits for its last messages to arrive, s.
_ACK_TIMEOUT = 0.5


class ExecutorNode(ManagedNode):
    """Wiring of the executor: control/ decides what moves, how, and when it stops.

    Attributes:
        control: from configure to cleanup.
        inputs: subscriptions, from configure to cleanup.
        graph_monitor: from configure to cleanup.
        tick_budget: decides whether a chunk fits before the next tick.

    """

    def __init__(self) -> None:
        super().__init__("executor_node")
        self._born_ns = time.monotonic_ns()
        self._settings = Parameters(self, ExecutorConfig)
        self._settings.on_change(self._on_setting)
        self.control: Executor | None = None
        self.inputs: ExecutorInputs | None = None
        self.graph_monitor: GraphMonitor | None = None
        self.tick_budget = TickBudget(1.0)
        self._outputs: dict[str, CommandOutput] = {}
        self._chunks: Subscription | None = None
        self._ticks: Timer | None = None
        self._timing: TickTiming | None = None
        self._pending: deque[ActionChunk] = deque()
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)

        self._timelines = self.create_publisher(
            CommittedTimeline, "committed_timeline", qos.LATCHED
        )
        self._reports = ExecutorReports(self)
        self._operator = OperatorServices(self, self._now, self._publish_now)
        self._operator.single_step = self._settings.config.single_step
        self.create_timer(_STATE_PERIOD, self._report, clock=self._steady)
        self.create_timer(_DIAGNOSTICS_PERIOD, self._diagnose, clock=self._steady)

    @property
    def _sim_time(self) -> bool:
        return bool(self.get_parameter("use_sim_time").value)

    def setup(self) -> None:
        """Create the executor, its subscriptions and its command publishers."""
        self._settings.lock()
        try:
            file = robot_path(self._settings.config.robot)
            contract = load_contract(file)
            known = Context(robot=contract, robot_file=str(file), executor=self._settings.config)
            warnings = require(known)
        except ValueError as error:
            raise SetupError(str(error)) from error
        for warning in warnings:
            self.get_logger().warning(f"{warning.check}: {warning}")
        control = self.control = Executor(contract, self._settings.config)
        self._operator.set_executor(control)
        self._reports.reset(contract)
        for controller in contract.controllers:
            try:
                output = controller_type(controller.type).connect(self, controller, self.guarded)
            except MissingPackageError as error:
                raise SetupError(f"controller '{controller.name}': {error}") from error
            self._outputs[controller.name] = output
        self.graph_monitor = GraphMonitor(
            self,
            [
                *(topic for output in self._outputs.values() for topic in output.topics),
                self._reports.states.topic_name,
            ],
            born_ns=self._born_ns,
            discovery_timeout=self._settings.config.discovery_timeout,
            clock_timeout=self._settings.config.clock_timeout,
        )
        self.inputs = ExecutorInputs(self, control, self._publish, self._reports.log_rejection)
        self.inputs.open(contract)
        self._chunks = self.create_subscription(
            ActionChunk, "action_chunk", self.on_chunk, qos.CHUNKS
        )
        self.get_logger().info(
            f"drives {', '.join(control.joint_names)} through {', '.join(self._outputs)}"
        )

    def start(self) -> None:
        """Start to take chunks."""
        assert self.control is not None
        assert self.graph_monitor is not None
        assert self.inputs is not None
        if others := self.graph_monitor.begin():
            raise SetupError(f"another node commands this robot: {others}")
        period = 1.0 / self._settings.config.rate_hz
        self.control.start(self._now())
        self._timing, self.tick_budget = TickTiming(period), TickBudget(period)
        self._pending.clear()
        # Exclude everything that exists now from garbage collection: scanning it delays ticks.
        gc.collect()
        gc.freeze()
        self.inputs.take_measurements()
        self.inputs.begin()
        self._ticks = self.create_timer(
            period, self._on_tick, clock=self.get_clock() if self._sim_time else self._steady
        )
        self._operator.active = self.inputs.active = True

    def stop(self) -> None:
        """Stop the robot; the last command is the one that brings it to rest."""
        if self._ticks is not None:
            self.destroy_timer(self._ticks)
            self._ticks = None
        self._operator.active = False
        if self.inputs is not None:
            self.inputs.active = False
        if self.control is not None:
            self._publish(self.control.stop(self._now(), "deactivated", ReasonCode.DEACTIVATED))
            self._stream_to_rest(self.control)
        self._report()
        self._wait_for_acknowledgement()
        if self._timing is not None:
            self.get_logger().info(f"timing: {self._timing}")
            self._timing = None

    def teardown(self) -> None:
        """Destroy subscriptions and command publishers."""
        if self.inputs is not None:
            self.inputs.close()
        if self._chunks is not None:
            self.destroy_subscription(self._chunks)
        for output in self._outputs.values():
            output.destroy()
        self._outputs = {}
        self._operator.set_executor(None)
        self.control = self.inputs = self.graph_monitor = self._chunks = None
        self._settings.unlock()
        gc.unfreeze()

    # From a chunk to the controllers

    def on_chunk(self, msg: ActionChunk) -> None:
        """Take a chunk now, or right after the next tick."""
        if self._ticks is None:
            return
        # A chunk takes longer than a tick may be late: one that arrives just before a tick waits.
        left = ns_to_s(self._ticks.time_until_next_call())
        if self._sim_time or (not self._pending and self.tick_budget.has_time(left)):
            self._take_chunk(msg)
        else:
            self._pending.append(msg)

    def _take_chunk(self, msg: ActionChunk) -> None:
        control, inputs, monitor = self.control, self.inputs, self.graph_monitor
        if control is None or inputs is None or monitor is None:
            return
        began = time.perf_counter()
        self._check_clock()
        inputs.take_measurements()
        now = self._now()
        try:
            monitor.require_no_conflict()
            rejection = control.receive(chunk_from_msg(msg), now)
        except MalformedError as error:
            rejection = control.reject_chunk(Rejection(error.reason, error.detail))
        self._reports.log_rejection(rejection)
        self._publish(control.update(now))
        self.tick_budget.record(time.perf_counter() - began)

    def _on_tick(self) -> None:
        control, inputs, timing = self.control, self.inputs, self._timing
        if control is None or inputs is None or timing is None:
            return
        timing.begin()
        self._check_clock()
        inputs.take_measurements()
        now = self._now()
        self._publish(control.update(now))
        self._stream(control, now)
        self._send_targets(control, now)
        status, _, reason = control.status(now)
        if self._reports.has_changed(status, reason):
            self._report()
        timing.end()
        self._reports.publish_committed(control, now)
        while self._pending:
            self._take_chunk(self._pending.popleft())

    def _publish(self, update: Update | None) -> None:
        """Send trajectories to their controllers, and publish the timeline."""
        if update is None or not self._outputs:
            return
        for trajectory in update.trajectories:
            self._outputs[trajectory.controller].send(trajectory, update.timeline.stamp_ns)
        self._timelines.publish(timeline_to_msg(update.timeline))

    def _stream(self, control: Executor, now_ns: int) -> bool:
        """Send present positions to controllers without trajectories; return whether they move."""
        commands = control.commands(now_ns)
        for controller, positions in commands:
            self._outputs[controller.name].send(positions, now_ns)
        return bool(commands)

    def _send_targets(self, control: Executor, now_ns: int) -> None:
        """Pass targets to the controllers that follow them; their outputs send what is due."""
        for controller, target in control.targets(now_ns):
            self._outputs[controller.name].send(target, now_ns)

    def _publish_now(self) -> None:
        """Publish the effect of an operator's request."""
        if self.control is not None and self.control.estopped:
            for output in self._outputs.values():
                output.cancel()
        if self.control is not None and self._ticks is not None:
            self._publish(self.control.update(self._now()))
        self._report()

    def _wait_for_acknowledgement(self) -> None:
        """Wait until the stop has arrived: undelivered messages are lost with their publisher."""
        end = time.monotonic() + _ACK_TIMEOUT

        def left() -> float:
            return max(0.0, end - time.monotonic())

        late = [
            topic
            for output in self._outputs.values()
            if not output.wait_for_acknowledgement(left())
            for topic in output.topics
        ]
        late += [
            publisher.topic_name
            for publisher in (self._timelines, self._reports.states)
            if not publisher.wait_for_all_acked(Duration(seconds=left()))
        ]
        for topic in late:
            self.get_logger().warning(
                f"not all subscribers of {topic} acknowledged the last message"
            )

    def _stream_to_rest(self, control: Executor) -> None:
        """Send positions to controllers without trajectories until they are at rest.

        Ends after _STREAMED_STOP_TIMEOUT at the latest.
        """
        end = time.monotonic() + _STREAMED_STOP_TIMEOUT
        while time.monotonic() < end and self._stream(control, self._now()):
            time.sleep(1.0 / self._settings.config.rate_hz)

    # Errors and settings

    def on_internal_error(self, what: str) -> None:
        """Stop the robot, latched: after an error of this program its state is unknown."""
        self._pending.clear()
        if self.control is not None:
            update = self.control.fail(what, self._now())
            if self._ticks is not None:
                self._publish(update)

    def _on_setting(self, config: ExecutorConfig) -> None:
        self._operator.single_step = config.single_step
        if self.control is not None:
            self.control.settings = config

    # Reports

    def _check_clock(self) -> None:
        """Restart after a jump of ROS time; call it before newer joint states are taken."""
        control, monitor = self.control, self.graph_monitor
        if control is None or monitor is None:
            return
        now = self._now()
        if jump := monitor.clock_jump(now):
            self.get_logger().warning(f"{jump}: motion was dropped, the next chunk continues")
            control.record_clock_jump(now, jump)

    def _check_graph(self) -> None:
        control, monitor = self.control, self.graph_monitor
        if control is None or monitor is None or self._ticks is None:
            return
        if other := monitor.new_conflict():
            reason = f"another node commands this robot: {other}"
            self.get_logger().error(reason)
            control.yield_control(reason, self._now())
        elif other := monitor.new_publisher():
            self.get_logger().error(f"another node commands this robot: {other}")
        if reason := monitor.new_clock_stall():
            self.get_logger().error(reason)
            self._publish(control.stop(self._now(), reason))

    def _report(self) -> None:
        if self.control is not None:
            self._check_graph()
            self._reports.publish_state(self._state(self.control))

    def _state(self, control: Executor) -> ExecutorState:
        """Return the state; compare the instruction with that of the policy."""
        state = control.state(self._now())
        if self.inputs is None:
            return state
        mismatch, now = self.inputs.mismatch, time.monotonic_ns()
        session = control.live_session or ""
        held = HeldInstruction(session, state.instruction_id, state.instruction)
        mismatch.record_executor(held, now)
        if new := mismatch.update(now):
            self.get_logger().warning(new)
        return replace(state, instruction_mismatch=mismatch.description)

    def _diagnose(self) -> None:
        control, monitor, inputs = self.control, self.graph_monitor, self.inputs
        if self._timing is None or control is None or monitor is None or inputs is None:
            return
        state = self._state(control)
        faults = [fault for output in self._outputs.values() if (fault := output.fault())]
        self._reports.log_output_faults(faults)
        faults += monitor.faults()
        self._reports.publish_diagnostics(
            state, faults, self._timing, inputs.report_missing(), inputs.mismatch.findings
        )

    def _now(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def make_node() -> ExecutorNode:
    """Create the node, with real-time scheduling of its process where permitted."""
    node = ExecutorNode()
    priority = int(node.get_parameter("realtime_priority").value)
    problem = request_realtime(priority) if priority else "switched off"
    if problem:
        node.get_logger().info(f"no real-time scheduling: {problem}")
    return node


def main() -> None:
    """Run the executor node."""
    run(make_node)
