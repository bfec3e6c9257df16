# SPDX-License-Identifier: Apache-2.0
"""The player node: publishes what a robot measured, from a bag, and /clock.

`groot-ros replay` and replay.launch.py start it next to a policy and an executor in shadow, which
use its /clock. It works where rosbag2 is not installed, and waits until the policy is active.
"""

import threading
import time
import traceback
from pathlib import Path

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rosgraph_msgs.msg import Clock as ClockMsg

from groot_ros.bags import BagError, input_topics
from groot_ros.bags.episode import read_episode
from groot_ros.bags.playback import Playback, PlayedTopic
from groot_ros.bridge import qos
from groot_ros.bridge.graph_monitor import PublisherConflicts, publishers_of
from groot_ros.bridge.messages import message_class, ns_to_time
from groot_ros.bridge.parameters import READ_ONCE, Parameters
from groot_ros.core import PlayerConfig, ns_to_s, s_to_ns
from groot_ros.core.share import robot_path
from groot_ros.msg import PolicyStatus
from groot_ros.nodes.run import run
from groot_ros.robot import load_contract

#: s between two looks at the graph, and at whether playing has ended.
_POLL_PERIOD = 0.1
#: s within which all publishers of a topic are discovered, and the subscribers of an active policy.
_DISCOVERY_TIME = 2.0
#: s between two lines about the progress.
_LINE_PERIOD = 5.0
#: Depth of publishers.
_DEPTH = 10


class PlayerNode(Node):
    """Plays a bag in a thread, once or in a loop; the process ends after it.

    Attributes:
        played: topic -> number of messages published.

    """

    def __init__(self) -> None:
        super().__init__("player_node")
        parameters = Parameters(self, PlayerConfig)
        parameters.lock(READ_ONCE)
        self._config = config = parameters.config
        if self.get_parameter("use_sim_time").value:
            raise ValueError("use_sim_time is set, but the player publishes /clock itself")
        if not config.bag:
            raise ValueError("bag is not set: name the directory of a bag")
        bag = Path(config.bag)
        names = [*config.topics]
        if not names and config.robot:
            names = [*input_topics(load_contract(robot_path(config.robot)))]
        elif not names:
            names = [*input_topics(read_episode(bag).robot_contract())]
        topics = [self.resolve_topic_name(name) for name in names]
        self._playback = Playback(bag, topics, config.start_offset)
        self._ticks = self.create_publisher(ClockMsg, "/clock", qos.DRIVER)
        self._outputs = {t.name: self._publisher(t) for t in self._playback.topics}
        self.played = dict.fromkeys(self._outputs, 0)
        self._policy_active = threading.Event()
        self.create_subscription(PolicyStatus, "policy_status", self._on_policy, qos.LATCHED)
        self._born = time.monotonic()
        self._ending = threading.Event()
        self._problem = ""
        self._line_due = 0.0
        self._thread = threading.Thread(target=self._run, name="player")
        self._thread.start()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_POLL_PERIOD, self._end_with_thread, clock=steady)

    @property
    def problem(self) -> str:
        """Return why playing ended early; empty if it did not."""
        return self._problem

    @property
    def finished(self) -> bool:
        """Return whether playing has ended."""
        return not self._thread.is_alive()

    def close(self) -> None:
        """End playing."""
        self._ending.set()
        self._thread.join()

    def _publisher(self, topic: PlayedTopic) -> Publisher:
        return self.create_publisher(
            message_class(topic.type),
            topic.name,
            QoSProfile(
                depth=1 if topic.qos.latched else _DEPTH,
                reliability=QoSReliabilityPolicy.RELIABLE
                if topic.qos.reliable
                else QoSReliabilityPolicy.BEST_EFFORT,
                durability=QoSDurabilityPolicy.TRANSIENT_LOCAL
                if topic.qos.latched
                else QoSDurabilityPolicy.VOLATILE,
            ),
        )

    def _on_policy(self, msg: PolicyStatus) -> None:
        if msg.lifecycle == PolicyStatus.ACTIVE:
            self._policy_active.set()

    def _end_with_thread(self) -> None:
        # After close() the process ends without it.
        if self.finished and not self._ending.is_set():
            raise SystemExit(1 if self._problem else 0)

    def _run(self) -> None:
        try:
            with self._playback:
                self._wait_for_graph()
                while not self._ending.is_set():
                    self._play_once()
                    if not self._config.loop:
                        break
        except BagError as error:
            self._problem = str(error)
            self.get_logger().error(self._problem)
        except Exception as error:
            # In a thread it would only be printed, and the process would end with status 0.
            self._problem = f"playing failed: {error}"
            self.get_logger().fatal(f"playing failed: {traceback.format_exc()}")

    def _wait_for_graph(self) -> None:
        """Wait for the policy, and for the discovery of other publishers.

        Raises:
            BagError: another node publishes one of the topics: a robot, or a second player.

        """
        timeout = self._config.wait_for_policy
        if timeout > 0.0:
            self.get_logger().info(f"waiting at most {timeout:g} s for an active policy")
            deadline = time.monotonic() + timeout
            while not self._policy_active.wait(_POLL_PERIOD) and not self._ending.is_set():
                self._require_own_topics()
                if time.monotonic() > deadline:
                    raise BagError(f"no policy became active within {timeout:g} s: see its log")
        until = max(self._born, time.monotonic() if timeout else 0.0) + _DISCOVERY_TIME
        while time.monotonic() < until and not self._ending.wait(_POLL_PERIOD):
            self._require_own_topics()

    def _require_own_topics(self) -> None:
        publishers = {t: publishers_of(self, t) for t in ("/clock", *self._outputs)}
        conflicts = PublisherConflicts(self.get_fully_qualified_name())
        if others := conflicts.check(publishers, time.monotonic_ns()):
            raise BagError(
                f"{others}; nothing is played on the network of a robot or of a simulation: use "
                "another ROS_DOMAIN_ID"
            )

    def _play_once(self) -> None:
        """Publish all messages at their times, with ticks of /clock between them."""
        playback, rate = self._playback, self._config.rate
        self.get_logger().info(
            f"playing {playback.duration:.1f} s at rate {rate:g}: {', '.join(self._outputs)}"
        )
        begin = time.monotonic()
        tick = 1.0 / self._config.clock_rate
        next_tick = begin
        self._line_due = begin + _LINE_PERIOD
        for topic, stamp_ns, data in playback.messages():
            due = begin + ns_to_s(stamp_ns - playback.start_ns) / rate
            while next_tick <= due:
                if self._wait_until(next_tick):
                    return
                self._publish_clock(playback.start_ns + s_to_ns((next_tick - begin) * rate))
                next_tick += tick
            if self._wait_until(due):
                return
            self._outputs[topic].publish(data)
            self.played[topic] += 1
        self._publish_clock(playback.end_ns)
        self.get_logger().info(
            f"played {playback.duration:.1f} of {playback.duration:.1f} s: "
            f"{sum(self.played.values())} messages"
        )

    def _wait_until(self, due: float) -> bool:
        """Wait until a time of the monotonic clock; return whether the node ends meanwhile."""
        left = due - time.monotonic()
        return self._ending.wait(left) if left > 0.0 else self._ending.is_set()

    def _publish_clock(self, now_ns: int) -> None:
        self._ticks.publish(ClockMsg(clock=ns_to_time(now_ns)))
        if time.monotonic() >= self._line_due:
            self._line_due += _LINE_PERIOD
            self._require_own_topics()
            self.get_logger().info(
                f"played {ns_to_s(now_ns - self._playback.start_ns):.1f} of "
                f"{self._playback.duration:.1f} s"
            )


def main() -> None:
    """Run the player node; exit with status 1 if it could not play everything."""
    run(PlayerNode)
