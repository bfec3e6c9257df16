"""The executor: action chunks in, bounded motion to the controllers out.

Subscriptions live from configure to cleanup, the timer from activate to deactivate. All
callbacks run in one thread, so nothing here needs a lock.
"""

import gc
import time
from collections import deque
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.timer import Timer
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from groot_ros.bridge import qos
from groot_ros.bridge.controller_state import reference_of
from groot_ros.bridge.diagnosis import ExecutorDiagnosis
from groot_ros.bridge.messages import (
    chunk_from_msg,
    executor_state_to_msg,
    ns_to_time,
    time_to_ns,
    timeline_to_msg,
)
from groot_ros.bridge.parameters import Parameters
from groot_ros.bridge.tick_budget import TickBudget
from groot_ros.control import Executor, ExecutorConfig, Rejection, Update
from groot_ros.core import NS_PER_S, MalformedError, ReasonCode, ns_to_s
from groot_ros.core import ExecutorState as StateRecord
from groot_ros.core.share import robot_path
from groot_ros.msg import ActionChunk, CommittedTimeline, ExecutorState, PolicyStatus
from groot_ros.nodes.command_outputs import CommandOutputs
from groot_ros.nodes.executor_inputs import ExecutorInputs
from groot_ros.nodes.graph_monitor import GraphMonitor
from groot_ros.nodes.lifecycle import ManagedNode, SetupError
from groot_ros.nodes.operator_services import OperatorServices
from groot_ros.nodes.realtime import ask_for_realtime
from groot_ros.nodes.run import run
from groot_ros.nodes.timer_watch import TimerWatch
from groot_ros.observation.instruction import problem
from groot_ros.observation.rejections import WISHES, RejectionCounts
from groot_ros.robot import JointStateSource, load_contract

#: s between reports of the state, when nothing changes.
_STATE_PERIOD = 0.1
#: s between reports on /diagnostics.
_DIAGNOSTICS_PERIOD = 1.0
#: One warning per reason in so long.
_QUIET_NS = 5 * NS_PER_S
#: s that deactivation waits for a streamed stop at most.
_STREAMED_STOP = 2.0
#: s that deactivation waits for its last messages to arrive at most.
_LAST_WORDS = 0.5


class ExecutorNode(ManagedNode):
    """Wiring only: control/ decides what moves, how, and when it stops."""

    def __init__(self) -> None:
        super().__init__("executor_node")
        self._born_ns = time.monotonic_ns()
        self._settings = Parameters(self, ExecutorConfig)
        self._settings.on_change(self._on_setting)
        self._told = RejectionCounts(_QUIET_NS)
        self._diagnosis = ExecutorDiagnosis(self.get_name())
        self._control: Executor | None = None
        self._outputs: CommandOutputs | None = None
        self._inputs: ExecutorInputs | None = None
        self._surroundings: GraphMonitor | None = None
        self._ticks: Timer | None = None
        self._watch: TimerWatch | None = None
        self._gap = TickBudget(1.0)
        self._waiting: deque[ActionChunk] = deque()
        self._reported: StateRecord | None = None
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)

        self._timelines = self.create_publisher(
            CommittedTimeline, "committed_timeline", qos.LATCHED
        )
        self._states = self.create_publisher(ExecutorState, "executor_state", qos.LATCHED)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.DRIVER)
        self._operator = OperatorServices(self, self._now, self._publish_now)
        self._operator.single_step = self._settings.config.single_step
        self.create_timer(_STATE_PERIOD, self._report, clock=self._steady)
        self.create_timer(_DIAGNOSTICS_PERIOD, self._diagnose, clock=self._steady)

    @property
    def _sim_time(self) -> bool:
        return bool(self.get_parameter("use_sim_time").value)

    def setup(self) -> None:
        """Listen to the robot and to the operator."""
        self._settings.lock()
        try:
            contract = load_contract(robot_path(self._settings.config.robot))
        except ValueError as error:
            raise SetupError(str(error)) from error
        control = self._control = Executor(contract, self._settings.config)
        self._operator.command(control)
        self._told = RejectionCounts(_QUIET_NS)
        self._diagnosis = ExecutorDiagnosis(self.get_name())
        self._outputs = CommandOutputs(self, contract.controllers)
        self._surroundings = GraphMonitor(
            self,
            [*self._outputs.topics, self._states.topic_name],
            born_ns=self._born_ns,
            discovery=self._settings.config.discovery_timeout,
        )
        self._inputs = ExecutorInputs(self, contract, self)
        self.get_logger().info(
            f"drives {', '.join(control.joint_names)} through "
            f"{', '.join(c.name for c in contract.controllers)}"
        )

    def start(self) -> None:
        """Take chunks from now on."""
        assert self._control is not None
        assert self._surroundings is not None
        if publisher_conflicts := self._surroundings.begin():
            raise SetupError(f"somebody else commands this robot: {publisher_conflicts}")
        period = 1.0 / self._settings.config.rate_hz
        self._control.start(self._now())
        self._watch, self._gap = TimerWatch(period), TickBudget(period)
        self._waiting.clear()
        # What is there now stays: looking through it for garbage would make ticks late.
        gc.collect()
        gc.freeze()
        self._ticks = self.create_timer(
            period, self._on_tick, clock=self.get_clock() if self._sim_time else self._steady
        )
        self._operator.active = True

    def stop(self) -> None:
        """Stop the robot; its last command is the one that brings it to rest."""
        if self._ticks is not None:
            self.destroy_timer(self._ticks)
            self._ticks = None
        self._operator.active = False
        if self._control is not None:
            self._publish(self._control.stop(self._now(), "deactivated", ReasonCode.DEACTIVATED))
            self._stream_to_rest(self._control)
        self._report()
        self._wait_until_heard()
        if self._watch is not None:
            self.get_logger().info(f"timing: {self._watch}")
            self._watch = None

    def teardown(self) -> None:
        """Listen and command no longer."""
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None
        if self._outputs is not None:
            self._outputs.close()
            self._outputs = None
        self._operator.command(None)
        self._control = self._reported = self._surroundings = None
        self._settings.unlock()
        gc.unfreeze()

    # Ticks

    def _on_tick(self) -> None:
        control, watch = self._control, self._watch
        if control is None or watch is None:
            return
        watch.begin()
        now = self._now()
        self._publish(control.update(now))
        if self._outputs is not None:
            self._outputs.stream(control.commands(now))
        self._report_change(control.state(now))
        watch.end()
        while self._waiting:
            self._take_chunk(self._waiting.popleft())

    def _publish(self, update: Update | None) -> None:
        if update is None or self._outputs is None:
            return
        self._outputs.send(update.trajectories)
        self._timelines.publish(timeline_to_msg(update.timeline))

    def _publish_now(self) -> None:
        """What the operator changed."""
        if self._control is not None and self._ticks is not None:
            self._publish(self._control.update(self._now()))
        self._report()

    def _wait_until_heard(self) -> None:
        """Let the stop arrive: what a publisher has not delivered dies with it."""
        publishers = [self._timelines, self._states]
        if self._outputs is not None:
            publishers = [*self._outputs.publishers, *publishers]
        end = time.monotonic() + _LAST_WORDS
        for publisher in publishers:
            left = max(0.0, end - time.monotonic())
            if not publisher.wait_for_all_acked(Duration(seconds=left)):
                self.get_logger().warning(
                    f"not everybody on {publisher.topic_name} has the last message"
                )

    def _stream_to_rest(self, control: Executor) -> None:
        """Finish a stop that streamed controllers cannot finish by themselves."""
        assert self._outputs is not None
        end = time.monotonic() + _STREAMED_STOP
        while time.monotonic() < end and (commands := control.commands(self._now())):
            self._outputs.stream(commands)
            time.sleep(1.0 / self._settings.config.rate_hz)

    # What comes in

    def on_chunk(self, msg: ActionChunk) -> None:
        """Take a chunk now, or right after the next tick."""
        if self._ticks is None:
            return
        # A chunk costs more than a tick may be late: one that comes just before a tick waits.
        left = ns_to_s(self._ticks.time_until_next_call())
        if self._sim_time or (not self._waiting and self._gap.fits(left)):
            self._take_chunk(msg)
        else:
            self._waiting.append(msg)

    def _take_chunk(self, msg: ActionChunk) -> None:
        control = self._control
        if control is None:
            return
        began = time.perf_counter()
        now = self._now()
        try:
            self._require_to_be_alone()
            rejection = control.receive(chunk_from_msg(msg), now)
        except MalformedError as error:
            rejection = control.reject_chunk(Rejection(error.reason, error.detail))
        self._tell(rejection)
        self._publish(control.update(now))
        self._gap.took(time.perf_counter() - began)

    def _require_to_be_alone(self) -> None:
        graph_monitor = self._surroundings
        if graph_monitor is None:
            return
        if graph_monitor.conflicting_publisher:
            raise MalformedError("second_executor", graph_monitor.conflicting_publisher)
        if left := graph_monitor.unknown:
            raise MalformedError(
                "looking_around",
                f"somebody else may command this robot: known in {left:.1f} s (discovery_timeout)",
            )

    def on_joint_state(self, source: JointStateSource, msg: JointState) -> None:
        """Learn where the robot is."""
        if self._control is not None:
            stamp = time_to_ns(msg.header.stamp)
            ahead = ns_to_s(stamp - self._now())
            if ahead > self._control.settings.max_future:
                # Kept, it would hide every later state until its own time comes.
                detail = f"a joint state comes from {ahead:.3f} s in the future"
                self._tell(self._control.reject(Rejection("clocks_disagree", detail)))
                return
            self._tell(
                self._control.observe(stamp, msg.name, msg.position, msg.velocity, source.joints)
            )

    def on_policy_status(self, msg: PolicyStatus) -> None:
        """Learn that a session is over."""
        if self._control is not None and msg.lifecycle != State.PRIMARY_STATE_ACTIVE:
            self._control.end_session(msg.session)

    def on_controller_state(self, controller: str, msg: Any) -> None:
        """Learn what a controller follows."""
        if self._control is not None and self._ticks is not None:
            stamp, now = time_to_ns(msg.header.stamp), self._now()
            reference = reference_of(msg)
            self._publish(self._control.watch_controller(controller, stamp, reference, now))

    def on_instruction(self, msg: String) -> None:
        """Follow the operator's word."""
        # The policy does not follow such a one either, and says so.
        if self._control is not None and not problem(msg.data):
            update = self._control.instruct(msg.data, self._now())
            if self._ticks is not None:
                self._publish(update)

    def react(self, what: str) -> None:
        """Stop the robot, latched: what is wrong with this program nobody knows."""
        self._waiting.clear()
        if self._control is not None:
            update = self._control.fail(what, self._now())
            if self._ticks is not None:
                self._publish(update)

    def _on_setting(self, config: ExecutorConfig) -> None:
        self._operator.single_step = config.single_step
        if self._control is not None:
            self._control.settings = config

    # What it says of itself

    def _tell(self, rejection: Rejection | None) -> None:
        if rejection is None or not self._told.add(rejection.reason, time.monotonic_ns()):
            return
        if rejection.reason in WISHES:
            self.get_logger().info(f"rejected: {rejection}")
        elif rejection.reason in ("second_policy", "second_executor"):
            self.get_logger().error(f"rejected: {rejection}")
        else:
            self.get_logger().warning(f"rejected: {rejection}")

    def _watch_surroundings(self) -> None:
        control, graph_monitor = self._control, self._surroundings
        if control is None or graph_monitor is None or self._ticks is None:
            return
        if conflicting_publisher := graph_monitor.new_conflict():
            reason = f"somebody else commands this robot: {conflicting_publisher}"
            self.get_logger().error(reason)
            control.give_way(reason, self._now())
        if reason := graph_monitor.clock_stall():
            self.get_logger().error(reason)
            self._publish(control.stop(self._now(), reason, ReasonCode.CLOCK_STALLED))

    def _report(self) -> None:
        if self._control is not None:
            self._watch_surroundings()
            state = self._control.state(self._now())
            self._states.publish(executor_state_to_msg(state))
            self._reported = state

    def _report_change(self, state: StateRecord) -> None:
        old = self._reported
        if old is None or (old.status, old.reason) != (state.status, state.reason):
            self._report()

    def _diagnose(self) -> None:
        if self._watch is None or self._control is None or self._surroundings is None:
            return
        now = self._now()
        timing = self._watch.status(self.get_name())
        motion = self._diagnosis.status(self._control.state(now), self._surroundings.faults())
        msg = DiagnosticArray(status=[timing, motion])
        msg.header.stamp = ns_to_time(now)
        self._diagnostics.publish(msg)

    def _now(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def ahead_of_others() -> ExecutorNode:
    """The node in a process of its own, scheduled before the model beside it if allowed."""
    node = ExecutorNode()
    priority = int(node.get_parameter("realtime_priority").value)
    rejected = ask_for_realtime(priority) if priority else "switched off"
    if rejected:
        node.get_logger().info(f"no real-time scheduling: {rejected}")
    return node


def main() -> None:
    """Entry point of the executable."""
    run(ahead_of_others)
