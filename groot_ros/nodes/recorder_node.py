# SPDX-License-Identifier: Apache-2.0
"""The recorder node: writes the serialised messages of the graph's topics into bags."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from rosbags.interfaces import Qos

from groot_ros.bags import (
    NOTHING_RECORDED,
    BagError,
    graph_topics,
    input_types,
    optional_topics,
)
from groot_ros.bags.definitions import MessageDefinitions
from groot_ros.bags.episode import describe_recording
from groot_ros.bags.episode_recorder import EpisodeRecorder
from groot_ros.bags.qos import Request, offered_qos
from groot_ros.bags.streams import RESET_STEP_NS
from groot_ros.bridge.messages import message_class
from groot_ros.bridge.parameters import READ_ONCE, Parameters
from groot_ros.bridge.rclpy_patches import (
    HAS_RECEPTION_TIME,
    QoSMessageLostInfo,
    SubscriptionEventCallbacks,
)
from groot_ros.core import RecorderConfig, is_blank, ns_to_s
from groot_ros.core.share import robot_path
from groot_ros.msg import ActionChunk, Instruction
from groot_ros.nodes.episode_services import EpisodeServices
from groot_ros.nodes.run import run
from groot_ros.robot import load_contract

#: s between searches for publishers.
_DISCOVERY_PERIOD = 0.2
#: s between reports of lost messages and of write errors.
_REPORT_PERIOD = 1.0
#: Number of reports after which topics without a publisher are logged.
_REPORTS_BEFORE_WARNING = 5
#: Number of reports between two lines about the progress.
_REPORTS_PER_LINE = 10
#: Types that describe the bag; chunks are decoded at most once in this time, s.
_INSTRUCTION = "groot_ros/msg/Instruction"
_DESCRIBING = (_INSTRUCTION, "groot_ros/msg/ActionChunk")
_CHUNK_PERIOD = 1.0
#: Queue depths that cover a delayed recorder: 2 s of images, 10 s of a 100 Hz topic.
_IMAGE_DEPTH, _DEPTH = 60, 1000


class RecorderNode(Node):
    """Record each topic from its first publisher on, into one bag or one bag per episode."""

    def __init__(self) -> None:
        super().__init__("recorder_node")
        parameters = Parameters(self, RecorderConfig)
        parameters.lock(READ_ONCE)
        config = parameters.config
        if not config.output:
            raise ValueError("output is not set: name the directory of the bag")
        self._sim_time = bool(self.get_parameter("use_sim_time").value)
        contract = robot_path(config.robot) if config.robot or not config.topics else None
        names = [*config.topics]
        #: Topics whose absence is not worth a warning.
        self._optional: set[str] = set()
        #: Topics without which an episode is of no use.
        self._inputs = {self.resolve_topic_name(name) for name in names}
        #: Topic -> type that the robot contract expects.
        self._expected: dict[str, str] = {}
        if contract is not None and not names:
            robot = load_contract(contract)
            names = [*graph_topics(robot, use_sim_time=self._sim_time)]
            self._optional = {self.resolve_topic_name(n) for n in optional_topics(robot)}
            self._expected = {
                self.resolve_topic_name(n): kind for n, kind in input_types(robot).items()
            }
            self._inputs = set(self._expected)
        self._missing = {self.resolve_topic_name(name): None for name in names}
        self._requests: dict[str, Request] = {}
        self._subscriptions_by_topic: dict[str, Subscription] = {}
        self._logged_dropped: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._reports = 0
        self._types: dict[str, str] = {}
        self._next_chunk = 0.0
        self._definitions = MessageDefinitions()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_DISCOVERY_PERIOD, self._discover, clock=steady)
        self.create_timer(_REPORT_PERIOD, self._report, clock=steady)
        description = describe_recording(
            contract, self.get_namespace(), use_sim_time=self._sim_time
        )
        self._recorder = EpisodeRecorder(description, config.compression)
        output = Path(config.output)
        self._episodes = EpisodeServices(
            self,
            self._recorder,
            output if config.episodes else None,
            config.instruction,
            lambda: self._inputs,
            self._missing_inputs,
        )
        #: Latest stamp in the bag of this path.
        self._newest: tuple[Path | None, int] = (None, 0)
        self._failed = False
        if not config.episodes:
            self._episodes.start_bag(output)
            self.get_logger().info(f"recording into {output}")

    @property
    def failed(self) -> bool:
        """Return whether messages are missing in the bags, or a bag is useless or empty."""
        return self._failed or bool(self._episodes.dropped) or self._recorder.problem is not None

    @property
    def counts(self) -> dict[str, int]:
        """Return topic -> number of messages written so far into the present or the last bag."""
        return self._recorder.counts

    def _missing_inputs(self) -> list[str]:
        """Return the inputs that nobody publishes, or not as the contract expects."""
        missing = self._inputs.intersection(self._missing)
        wrong = {
            f"{topic} as {kind}"
            for topic, kind in self._expected.items()
            if self._types.get(topic, kind) != kind
        }
        return sorted(missing | wrong)

    def close(self) -> None:
        """Write the queued messages, close the bag and log what it contains."""
        for subscription in self._subscriptions_by_topic.values():
            self.destroy_subscription(subscription)
        self._subscriptions_by_topic.clear()
        last = self._episodes.close()
        if last is not None:
            self._failed |= bool(last.problem)
            self._log_losses(last.dropped, "recording ended early" if last.problem else "")
            empty = {*self._missing, *(t for t, n in last.counts.items() if n == 0)}
            if silent := sorted(empty - self._optional):
                self.get_logger().warning(f"nothing was received on {', '.join(silent)}")
            if not sum(last.counts.values()):
                self._failed = True
                self.get_logger().error(f"{NOTHING_RECORDED}: are the names of the topics right?")
        elif not sum(self._episodes.outcomes.values()):
            self._failed = True
            self.get_logger().error(f"{NOTHING_RECORDED}: no episode was kept")

    def _discover(self) -> None:
        # Before the first /clock every stamp would be 0.
        if self._sim_time and self.get_clock().now().nanoseconds == 0:
            return
        for topic in [*self._missing, *self._requests]:
            publishers = self.get_publishers_info_by_topic(topic)
            if not publishers:
                continue
            offers = [offered_qos(p.qos_profile) for p in publishers]
            types = sorted({p.topic_type for p in publishers})
            if topic in self._missing:
                del self._missing[topic]
                self._start_recording(topic, types, offers)
            elif not self._requests[topic].receives_all(offers):
                self.get_logger().warning(
                    f"a new publisher of {topic} offers less (best effort, or not latched): "
                    "subscribing again, compatible with all of them"
                )
                self.destroy_subscription(self._subscriptions_by_topic[topic])
                self._subscribe(topic, types[0], offers)

    def _start_recording(self, topic: str, types: Sequence[str], offers: Sequence[Qos]) -> None:
        try:
            if len(types) > 1:
                raise BagError(f"its publishers disagree on its type: {', '.join(types)}")
            definition = self._definitions.find(types[0])
            latched = Request.matching(offers).latched
            self._recorder.add_topic(topic, definition, offers, latched=latched)
            self._subscribe(topic, types[0], offers)
        except ValueError as error:
            self.get_logger().error(f"{topic} is NOT recorded: {error}")
        else:
            self.get_logger().info(f"recording {topic} [{types[0]}]")
            expected = self._expected.get(topic, types[0])
            if types[0] != expected:
                self.get_logger().error(
                    f"{topic} has the type {types[0]}, but the robot contract expects {expected}: "
                    "the bag can neither be evaluated nor converted; correct the driver or the "
                    "contract"
                )

    def _subscribe(self, topic: str, type_name: str, offers: Sequence[Qos]) -> None:
        request = Request.matching(offers)
        self._requests[topic] = request
        self._types[topic] = type_name
        self._subscriptions_by_topic[topic] = self.create_subscription(
            message_class(type_name),
            topic,
            partial(self._on_stamped_message, topic)
            if HAS_RECEPTION_TIME
            else partial(self._on_message, topic),
            QoSProfile(
                depth=_IMAGE_DEPTH if type_name == "sensor_msgs/msg/Image" else _DEPTH,
                reliability=QoSReliabilityPolicy.RELIABLE
                if request.reliable
                else QoSReliabilityPolicy.BEST_EFFORT,
                durability=QoSDurabilityPolicy.TRANSIENT_LOCAL
                if request.latched
                else QoSDurabilityPolicy.VOLATILE,
            ),
            event_callbacks=SubscriptionEventCallbacks(
                message_lost=partial(self.on_message_lost, topic)
            ),
            raw=True,
        )

    def on_message_lost(self, topic: str, event: QoSMessageLostInfo) -> None:
        """Count messages that DDS reports as lost."""
        # DDS also counts messages that a latched topic had replaced before the recorder joined.
        request = self._requests.get(topic)
        first = event.total_count == event.total_count_change
        if not (first and request is not None and request.latched):
            self._lost[topic] += event.total_count_change
            self._episodes.lost += event.total_count_change

    def _on_stamped_message(self, topic: str, data: bytes, info: dict[str, Any]) -> None:
        stamp_ns = 0 if self._sim_time else int(info["received_timestamp"])
        if stamp_ns <= 0:
            stamp_ns = int(self.get_clock().now().nanoseconds)
        self._record(topic, stamp_ns, data)

    def _on_message(self, topic: str, data: bytes) -> None:
        self._record(topic, int(self.get_clock().now().nanoseconds), data)

    def _record(self, topic: str, stamp_ns: int, data: bytes) -> None:
        self._check_clock(stamp_ns)
        self._recorder.offer(topic, stamp_ns, data)
        if self._recorder.recording and self._types[topic] in _DESCRIBING:
            try:
                self._describe(self._types[topic], data)
            except RuntimeError as error:
                # Its publisher has another version of the message.
                self.get_logger().warning(f"{topic} cannot be decoded: {error}", once=True)

    def _check_clock(self, stamp_ns: int) -> None:
        """Log that the clock was reset while a bag is recorded, which makes it useless."""
        bag, newest_ns = self._newest
        if not self._recorder.recording or bag != self._recorder.path:
            newest_ns = 0
        if newest_ns - stamp_ns > RESET_STEP_NS:
            self._failed = True
            self.get_logger().error(
                f"the clock went back by {ns_to_s(newest_ns - stamp_ns):.3f} s, as when a "
                f"simulation is reset: {self._recorder.path} can neither be evaluated, converted "
                "nor played; record again, and end a recording before a reset"
            )
            newest_ns = 0
        self._newest = (self._recorder.path, max(newest_ns, stamp_ns))

    def _describe(self, type_name: str, data: bytes) -> None:
        """Note instruction and checkpoint in the description of the bag."""
        if type_name == _INSTRUCTION:
            instruction = deserialize_message(data, Instruction)
            if not is_blank(instruction.text):
                self._recorder.describe_instruction(instruction.text)
        elif time.monotonic() >= self._next_chunk:
            self._next_chunk = time.monotonic() + _CHUNK_PERIOD
            chunk = deserialize_message(data, ActionChunk)
            self._recorder.describe_policy(chunk.checkpoint_hash, chunk.embodiment, chunk.engine)

    def _report(self) -> None:
        self._reports += 1
        if self._recorder.problem is not None:
            raise SystemExit(1)
        self._log_losses(self._recorder.dropped)
        missing = [topic for topic in self._missing if topic not in self._optional]
        if self._reports == _REPORTS_BEFORE_WARNING and missing:
            self.get_logger().warning(f"still no publisher of {', '.join(missing)}")
        if self._recorder.recording and self._reports % _REPORTS_PER_LINE == 0:
            self.get_logger().info(
                f"{sum(self._recorder.counts.values())} messages, "
                f"{self._recorder.written_bytes / 1e6:.0f} MB recorded; "
                f"{self._episodes.free_bytes / 1e9:.1f} GB are free on the disk"
            )
        self._episodes.publish_state()

    def _log_losses(self, dropped: Counter[str], reason: str = "") -> None:
        for topic, count in (dropped - self._logged_dropped).items():
            self.get_logger().error(
                f"{reason or 'writing cannot keep up'}: {count} messages of {topic} are NOT in "
                f"the bag ({dropped[topic]} in total)"
            )
        # Of the present bag: a new one starts with none.
        self._logged_dropped = dropped
        for topic, count in self._lost.items():
            self.get_logger().error(
                f"{count} messages of {topic} were lost in transport; for images, does the "
                "publisher use the package's DDS profile (config/fastdds.xml)?"
            )
        self._lost.clear()


def main() -> None:
    """Run the recorder node; exit with status 1 if messages are missing in the bag."""
    made: list[RecorderNode] = []

    def make() -> RecorderNode:
        made.append(RecorderNode())
        return made[0]

    run(make)
    sys.exit(1 if made[0].failed else 0)
