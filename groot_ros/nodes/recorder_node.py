# SPDX-License-Identifier: Apache-2.0
"""The recorder node: writes the serialized messages of the graph's topics into a bag."""

import importlib
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.subscription import Subscription
from rosbags.interfaces import Qos

from groot_ros.bags import NOTHING_RECORDED, BagError, controller_states, graph_topics
from groot_ros.bags.definitions import MessageDefinitions
from groot_ros.bags.qos import Request, offered_qos
from groot_ros.bags.recorder import Recorder
from groot_ros.bags.writer import BagWriter
from groot_ros.bridge.parameters import READ_ONCE, Parameters
from groot_ros.bridge.rclpy_patches import (
    HAS_RECEPTION_TIME,
    QoSMessageLostInfo,
    SubscriptionEventCallbacks,
)
from groot_ros.core import RecorderConfig
from groot_ros.core.share import robot_path
from groot_ros.nodes.run import run
from groot_ros.robot import load_contract

#: s between searches for publishers.
_DISCOVERY_PERIOD = 0.2
#: s between reports of lost messages and of write errors.
_REPORT_PERIOD = 1.0
#: Number of reports after which topics without a publisher are logged.
_REPORTS_BEFORE_WARNING = 5
#: Queue depths that cover a delayed recorder: 2 s of images, 10 s of a 100 Hz topic.
_IMAGE_DEPTH, _DEPTH = 60, 1000


class RecorderNode(Node):
    """Record each topic from its first publisher on, until close()."""

    def __init__(self) -> None:
        super().__init__("recorder_node")
        parameters = Parameters(self, RecorderConfig)
        parameters.lock(READ_ONCE)
        output = parameters.config.output
        if not output:
            raise ValueError("output is not set: name the directory of the bag")
        self._sim_time = bool(self.get_parameter("use_sim_time").value)
        names = [*parameters.config.topics]
        #: Topics whose absence is not worth a warning.
        self._optional: set[str] = set()
        if not names:
            contract = load_contract(robot_path(parameters.config.robot))
            names = [*graph_topics(contract, use_sim_time=self._sim_time)]
            self._optional = {self.resolve_topic_name(n) for n in controller_states(contract)}
        self._missing = {self.resolve_topic_name(name): None for name in names}
        self._requests: dict[str, Request] = {}
        self._subscriptions_by_topic: dict[str, Subscription] = {}
        self._logged_dropped: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._reports = 0
        self._definitions = MessageDefinitions()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_DISCOVERY_PERIOD, self._discover, clock=steady)
        self.create_timer(_REPORT_PERIOD, self._report, clock=steady)
        self._recorder = Recorder(BagWriter(Path(output)))
        self._output = output
        self.get_logger().info(f"recording into {output}")

    @property
    def failed(self) -> bool:
        """Return whether received messages are missing in the bag."""
        return self._recorder.problem is not None or bool(self._recorder.dropped)

    @property
    def counts(self) -> dict[str, int]:
        """Return topic -> number of messages written so far."""
        return self._recorder.counts

    def close(self) -> None:
        """Write the queued messages, close the bag and log what it contains."""
        for subscription in self._subscriptions_by_topic.values():
            self.destroy_subscription(subscription)
        self._recorder.close()
        self._log_losses()
        if self._recorder.problem is not None:
            self.get_logger().error(str(self._recorder.problem))
        counts = self._recorder.counts
        empty = {*self._missing, *(topic for topic, n in counts.items() if n == 0)}
        silent = sorted(empty - self._optional)
        if silent:
            self.get_logger().warning(f"nothing was received on {', '.join(silent)}")
        recorded = f"{sum(counts.values())} messages of {len(counts)} topics"
        self.get_logger().info(f"recorded {recorded} in {self._output}")
        if not sum(counts.values()):
            self.get_logger().error(f"{NOTHING_RECORDED}: are the names of the topics right?")

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
            self._recorder.add_topic(topic, self._definitions.find(types[0]), offers)
            self._subscribe(topic, types[0], offers)
        except BagError as error:
            self.get_logger().error(f"{topic} is NOT recorded: {error}")
        else:
            self.get_logger().info(f"recording {topic} [{types[0]}]")

    def _subscribe(self, topic: str, type_name: str, offers: Sequence[Qos]) -> None:
        request = Request.matching(offers)
        self._requests[topic] = request
        self._subscriptions_by_topic[topic] = self.create_subscription(
            _message_class(type_name),
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

    def _on_stamped_message(self, topic: str, data: bytes, info: dict[str, Any]) -> None:
        stamp_ns = 0 if self._sim_time else int(info["received_timestamp"])
        if stamp_ns > 0:
            self._recorder.offer(topic, stamp_ns, data)
        else:
            self._on_message(topic, data)

    def _on_message(self, topic: str, data: bytes) -> None:
        self._recorder.offer(topic, self.get_clock().now().nanoseconds, data)

    def _report(self) -> None:
        self._reports += 1
        if self._recorder.problem is not None:
            raise SystemExit(1)
        self._log_losses()
        missing = [topic for topic in self._missing if topic not in self._optional]
        if self._reports == _REPORTS_BEFORE_WARNING and missing:
            self.get_logger().warning(f"still no publisher of {', '.join(missing)}")

    def _log_losses(self) -> None:
        new = self._recorder.dropped - self._logged_dropped
        for topic, count in new.items():
            self.get_logger().error(
                f"writing cannot keep up: {count} messages of {topic} are NOT in the bag "
                f"({self._recorder.dropped[topic]} in total)"
            )
        self._logged_dropped += new
        for topic, count in self._lost.items():
            self.get_logger().error(
                f"{count} messages of {topic} were lost in transport; for images, does the "
                "publisher use the package's DDS profile (config/fastdds.xml)?"
            )
        self._lost.clear()


def _message_class(type_name: str) -> type:
    package, _, name = type_name.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError) as error:
        raise BagError(f"{type_name} is not installed: source its workspace") from error


def main() -> None:
    """Run the recorder node; exit with status 1 if messages are missing in the bag."""
    made: list[RecorderNode] = []

    def make() -> RecorderNode:
        made.append(RecorderNode())
        return made[0]

    run(make)
    sys.exit(1 if made[0].failed else 0)
