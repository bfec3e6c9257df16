# SPDX-License-Identifier: Apache-2.0
"""Competing publishers over DDS: how soon each is reported, and false alarms at driver restarts.

    python -m benchmarks publisher_conflicts [--runs 50]

A driver is a process that publishes joint states at 100 Hz and images at 30 Hz. In each run a
second one joins: the delay counts from its first message received to the report. Then drivers are
restarted, in turn with SIGKILL (its publishers stay in the graph for 20 s) and with SIGTERM; each
report is a false alarm. Both kinds of evidence are measured on the same messages: the publication
numbers (Jazzy) and the rate (Humble, and RMWs without numbers).
"""

import argparse
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from groot_ros.bridge.isolated_domain import use_isolated_domain
from groot_ros.evaluation.table import format_table

JOINTS = ("pan", "lift", "grip")
RATES = {"joint_states": 100.0, "front/image_raw": 30.0}
#: s: a competing publisher must be reported within this.
TARGET = 1.0
#: s for which a restarted driver is observed.
OBSERVED = 1.5
#: s until a process must have published.
_START_TIMEOUT = 60.0


def play_driver(name: str) -> None:
    """Publish joint states and images until the process is ended."""
    import rclpy
    from sensor_msgs.msg import Image, JointState

    from groot_ros.bridge import qos

    rclpy.init()
    node = rclpy.create_node(name)

    def add(topic: str, message: Any) -> None:
        publisher = node.create_publisher(type(message), topic, qos.DRIVER)
        message.header.frame_id = name
        node.create_timer(1 / RATES[topic], lambda: publisher.publish(message))

    add("joint_states", JointState(name=list(JOINTS), position=[0.0] * len(JOINTS)))
    add("front/image_raw", Image(width=16, height=16, step=48, encoding="rgb8", data=bytes(768)))
    rclpy.spin(node)


class Watch:
    """Node that receives the topics of the drivers, as the policy does.

    Attributes:
        received: (topic, driver) -> time of its first message, s.
        reported: (topic, evidence) -> (time of the first report, s; its text).

    """

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from sensor_msgs.msg import Image, JointState

        from groot_ros.bridge import qos, rclpy_patches
        from groot_ros.bridge.competing_inputs import CompetingInput

        rclpy.init()
        node = rclpy.create_node("watch")
        self.received: dict[tuple[str, str], float] = {}
        self.reported: dict[tuple[str, str], tuple[float, str]] = {}
        self._inputs: dict[tuple[str, str], CompetingInput] = {}
        kinds: dict[str, tuple[Any, Any, tuple[str, ...]]]
        kinds = {"joint_states": (JointState, qos.JOINT_STATES, JOINTS)}
        kinds["front/image_raw"] = (Image, qos.SENSOR, ("front",))
        for topic, (kind, profile, parts) in kinds.items():
            for evidence in ("numbers", "rate"):
                self._inputs[topic, evidence] = CompetingInput(
                    node, node.resolve_topic_name(topic), parts, RATES[topic]
                )
            callback = rclpy_patches.with_publication_number(
                partial(self._on_message, topic, parts)
            )
            node.create_subscription(kind, topic, callback, profile)
        self._node = node
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)

    def close(self) -> None:
        """Destroy the node."""
        import rclpy

        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown()

    def _on_message(self, topic: str, parts: Sequence[str], msg: Any, number: int | None) -> None:
        now = time.monotonic()
        self.received.setdefault((topic, msg.header.frame_id), now)
        for evidence, own in (("numbers", number), ("rate", None)):
            if evidence == "numbers" and number is None:
                continue
            if text := self._inputs[topic, evidence].check_message(parts, own):
                self.reported.setdefault((topic, evidence), (now, text))

    def spin_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Receive messages until the condition holds; return whether it did."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                return False
            self._executor.spin_once(timeout_sec=0.05)
        return True


def start_driver(watch: Watch, name: str) -> subprocess.Popen[bytes]:
    """Start a driver and wait until a message of it was received on each topic."""
    command = [sys.executable, "-m", "benchmarks.publisher_conflicts", "--driver", name]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if not watch.spin_until(
        lambda: all((topic, name) in watch.received for topic in RATES), _START_TIMEOUT
    ):
        process.kill()
        sys.exit(f"driver {name} published nothing within {_START_TIMEOUT:g} s")
    return process


def end_driver(watch: Watch, process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """End a driver and receive what it still sends."""
    process.send_signal(how)
    watch.spin_until(lambda: process.poll() is not None, 10.0)
    process.wait()


def measure_conflicts(watch: Watch, runs: int) -> dict[tuple[str, str], list[float]]:
    """Return (topic, evidence) -> delays of the reports that name both nodes, s."""
    delays = defaultdict(list)
    first = start_driver(watch, "driver")
    for run in range(runs):
        name = f"competing_{run}"
        watch.reported.clear()
        second = start_driver(watch, name)
        watch.spin_until(lambda: len(watch.reported) == 2 * len(RATES), 3.0)
        for key, (at, text) in watch.reported.items():
            if "/driver" in text and f"/{name}" in text:
                delays[key].append(at - watch.received[key[0], name])
        end_driver(watch, second, signal.SIGTERM)
        # Evidence lasts for a second.
        watch.spin_until(lambda: False, 1.5)
    end_driver(watch, first, signal.SIGTERM)
    return delays


def measure_restarts(watch: Watch, runs: int) -> dict[tuple[str, str], int]:
    """Return (topic, evidence) -> number of restarts after which a conflict was reported."""
    alarms: dict[tuple[str, str], int] = defaultdict(int)
    driver = start_driver(watch, "driver_0")
    watch.spin_until(lambda: False, 1.5)
    for run in range(1, runs + 1):
        watch.reported.clear()
        end_driver(watch, driver, signal.SIGKILL if run % 2 else signal.SIGTERM)
        driver = start_driver(watch, f"driver_{run}")
        watch.spin_until(lambda: False, OBSERVED)
        for key in watch.reported:
            alarms[key] += 1
    end_driver(watch, driver, signal.SIGTERM)
    return alarms


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print one table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.publisher_conflicts",
        description=__doc__.splitlines()[0] if __doc__ else "",
    )
    parser.add_argument("--runs", type=int, default=50, help="runs of each kind (%(default)s)")
    parser.add_argument("--driver", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.driver:
        play_driver(options.driver)
        return
    use_isolated_domain()
    watch = Watch()
    try:
        delays = measure_conflicts(watch, options.runs)
        alarms = measure_restarts(watch, options.runs)
    finally:
        watch.close()
    rows = []
    for topic in RATES:
        for evidence in ("numbers", "rate"):
            own = sorted(delays[topic, evidence])
            rows.append(
                [
                    topic,
                    evidence,
                    f"{sum(delay <= TARGET for delay in own)} of {options.runs}",
                    f"{own[len(own) // 2]:.3f}" if own else "-",
                    f"{own[-1]:.3f}" if own else "-",
                    f"{alarms[topic, evidence]} of {options.runs}",
                ]
            )
    header = ["input", "evidence", "reported within 1 s", "median s", "max s", "false alarms"]
    print(format_table(header, rows))
    print("target: every one reported within 1 s with both nodes named, no false alarm")


if __name__ == "__main__":
    main()
