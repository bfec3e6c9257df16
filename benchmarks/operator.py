# SPDX-License-Identifier: Apache-2.0
"""Commands of the operator on the loaded demo graph: how many take effect, and how soon.

    python -m benchmarks operator [--repetitions 25] [--load 1]

The demo graph (simulated robot, demo checkpoint, executor) runs, and `--load` processes keep a core
busy each. A repetition runs the commands of the documentation (say, hold, release, estop, resume,
reset, step, stop) as subprocesses. A command has taken effect if it exits with 0 and the state that
it asks for is observed on the topics of the nodes.

    whole command   from the start of the process to its end
    round trip      the call of a service that has been discovered
    topic           a publisher that does what `ros2 topic pub -1` does: it waits for as many
                    subscriptions as given (-w), publishes one instruction, and ends after 0.1 s, or
                    after 2 s with --keep-alive 2

The topic is measured with a recorder's subscription besides those of policy and executor.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from groot_ros.bridge.isolated_domain import use_isolated_domain
from groot_ros.bringup.node_graph import demo_graph
from groot_ros.bringup.supervisor import Supervisor
from groot_ros.evaluation.table import format_table

if TYPE_CHECKING:
    from groot_ros.bridge.graph_client import GraphClient

#: Largest p95 of a service call and of a whole command, s.
ROUND_TRIP, WHOLE = 0.2, 2.5
#: s until the effect of a command must be observed after its end.
_EFFECT_TIMEOUT = 5.0
_START_TIMEOUT = 120.0
#: Subscriptions waited for, and s of life after the message: `-1`, `-1 -w 2 --keep-alive 2`.
_TOPIC_FORMS = {"-1": (1, 0.1), "-1 -w 2 --keep-alive 2": (2, 2.0)}


@dataclass
class Seen:
    """Newest states of the nodes."""

    policy: Any = None
    executor: Any = None


@dataclass
class Results:
    """Figures of all commands; times in s."""

    took_effect: int = 0
    commands: int = 0
    whole: list[float] = field(default_factory=list)
    round_trip: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Observer:
    """Client that knows the newest state of policy and executor."""

    def __init__(self, client: "GraphClient") -> None:
        from groot_ros.bridge import qos
        from groot_ros.msg import ExecutorState, PolicyStatus

        self.client = client
        self.seen = Seen()
        subscribe = client.node.create_subscription
        subscribe(PolicyStatus, "policy_status", self._on_policy, qos.LATCHED)
        subscribe(ExecutorState, "executor_state", self._on_executor, qos.LATCHED)

    def _on_policy(self, msg: object) -> None:
        self.seen.policy = msg

    def _on_executor(self, msg: object) -> None:
        self.seen.executor = msg

    def wait(self, condition: Callable[[Seen], bool], timeout: float) -> bool:
        """Return whether the condition held within `timeout` s."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.seen.policy and self.seen.executor and condition(self.seen):
                return True
            time.sleep(0.005)
        return False


@contextmanager
def loaded_demo(load: int) -> Iterator[Observer]:
    """Run the demo graph and `load` busy processes; yield an observer once the policy is active."""
    from groot_ros.bridge.graph_client import GraphClient
    from groot_ros.msg import PolicyStatus

    busy = [sys.executable, "-c", "while True: pass"]
    with ExitStack() as around:
        supervisor = Supervisor(demo_graph({}), show=lambda _line: None)
        around.callback(supervisor.stop)
        supervisor.start()
        observer = Observer(around.enter_context(GraphClient()))
        if not observer.wait(lambda s: s.policy.lifecycle == PolicyStatus.ACTIVE, _START_TIMEOUT):
            sys.exit("the demo graph did not start")
        for _ in range(load):
            process = subprocess.Popen(busy)
            around.callback(process.wait)
            around.callback(process.kill)
        yield observer


def commands(text: str, episode: int) -> list[tuple[list[str], Callable[[Seen], bool]]]:
    """Return the commands of one repetition, each with the state that shows its effect."""

    def follows(seen: Seen, instruction: str) -> bool:
        return bool(instruction == seen.executor.instruction == seen.policy.instruction)

    return [
        (["say", text], lambda s: follows(s, text)),
        (["hold"], lambda s: s.executor.hold),
        (["release"], lambda s: not s.executor.hold),
        (["estop"], lambda s: s.executor.estop),
        (["resume"], lambda s: not s.executor.estop and not s.executor.latched),
        (["reset"], lambda s: s.policy.episode > episode),
        (["stop"], lambda s: s.executor.status != s.executor.RUNNING and follows(s, "")),
    ]


def run_commands(observer: Observer, repetitions: int) -> Results:
    """Run all commands `repetitions` times as subprocesses."""
    results = Results()
    for repetition in range(repetitions):
        colour = ("red", "green", "blue")[repetition % 3]
        episode = observer.seen.policy.episode
        for arguments, effect in commands(f"touch the {colour} cube", episode):
            began = time.monotonic()
            ended = subprocess.run(
                [sys.executable, "-m", "groot_ros.cli", *arguments, "--timeout", "10"],
                capture_output=True,
                text=True,
            )
            results.whole.append(time.monotonic() - began)
            results.commands += 1
            done = ended.returncode == 0 and observer.wait(effect, _EFFECT_TIMEOUT)
            results.took_effect += done
            if not done:
                state = observer.seen.executor
                results.problems.append(
                    f"{' '.join(arguments)}: {ended.returncode} {ended.stderr.strip()}; "
                    f"executor {state.reason_code}, '{state.instruction}', "
                    f"policy '{observer.seen.policy.instruction}'"
                )
    return results


def measure_round_trips(observer: Observer, calls: int) -> list[float]:
    """Return durations of calls of a discovered service, s."""
    from std_srvs.srv import SetBool

    client = observer.client.node.create_client(SetBool, "executor_node/hold")
    found = []
    while not client.service_is_ready():
        time.sleep(0.01)
    for call in range(calls):
        began = time.monotonic()
        future = client.call_async(SetBool.Request(data=not call % 2))
        while not future.done():
            time.sleep(0.0005)
        found.append(time.monotonic() - began)
    observer.client.node.destroy_client(client)
    return found


def publish_once(text: str, subscriptions: int, keep_alive: float) -> None:
    """Publish one instruction as `ros2 topic pub -1` does, in a separate process."""
    import rclpy
    from std_msgs.msg import String

    rclpy.init()
    node = rclpy.create_node("one_instruction")
    publisher = node.create_publisher(String, "instruction", 10)
    while publisher.get_subscription_count() < subscriptions:
        time.sleep(0.1)
    publisher.publish(String(data=text))
    time.sleep(keep_alive)
    node.destroy_node()
    rclpy.shutdown()


def measure_topic(observer: Observer, form: str, messages: int) -> int:
    """Return how many instructions of this form reached the policy."""
    from std_msgs.msg import String

    # A recorder, or `ros2 topic echo`: one more subscription that may be the first to match.
    recorder = observer.client.node.create_subscription(String, "instruction", lambda _: None, 10)
    subscriptions, keep_alive = _TOPIC_FORMS[form]
    reached = 0
    for i in range(messages):
        text = f"message {i} of {form}"
        arguments = ["--publish", text, str(subscriptions), str(keep_alive)]
        subprocess.run([sys.executable, "-m", "benchmarks.operator", *arguments], check=True)
        reached += observer.wait(lambda s: s.policy.instruction == text, 2.0)  # noqa: B023
    observer.client.node.destroy_subscription(recorder)
    return reached


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.operator", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument(
        "--repetitions", type=int, default=29, help="of the seven commands (%(default)s)"
    )
    parser.add_argument("--load", type=int, default=1, help="busy processes (%(default)s)")
    parser.add_argument("--messages", type=int, default=20, help="on the topic (%(default)s)")
    parser.add_argument("--publish", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.publish:
        publish_once(options.publish[0], int(options.publish[1]), float(options.publish[2]))
        return
    use_isolated_domain()
    with loaded_demo(options.load) as observer:
        results = run_commands(observer, options.repetitions)
        results.round_trip = measure_round_trips(observer, 10 * options.repetitions)
        topic = {form: measure_topic(observer, form, options.messages) for form in _TOPIC_FORMS}
    for problem in results.problems:
        print(problem)
    rows = [
        ["commands that took effect", f"{results.took_effect} of {results.commands}", "", "all"],
        _row("service round trip, s", results.round_trip, ROUND_TRIP),
        _row("whole command, s", results.whole, WHOLE),
    ]
    rows += [
        [f"topic pub {form}", f"{n} of {options.messages}", "", ""] for form, n in topic.items()
    ]
    load = f"{options.load} busy, load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores"
    print(format_table([load, "median", "p95", "target of the p95"], rows))


def _row(name: str, values: Sequence[float], target: float) -> list[str]:
    median, p95 = statistics.median(values), quantile(values, 0.95)
    return [name, f"{median:.3f}", f"{p95:.3f}", f"{target:g}"]


if __name__ == "__main__":
    main()
