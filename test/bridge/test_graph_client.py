# SPDX-License-Identifier: Apache-2.0
"""Commands over DDS: answers, missing services, and stops that reach only one of the nodes.

Regressions pinned: instructions and stops that were lost without anybody noticing.
"""

import threading
from collections import Counter

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from std_srvs.srv import SetBool, Trigger

from groot_ros.bridge.graph_client import GraphClient, NoAnswerError, ServiceCall
from groot_ros.bridge.operator_commands import COMMANDS, Command, Outcome, Reply, run_command
from groot_ros.srv import SetInstruction

pytestmark = pytest.mark.ros


class Servers:
    """Nodes with the services of policy and executor, spun in a thread; requests are recorded."""

    def __init__(self) -> None:
        rclpy.init()
        self.requests: list[tuple[str, object]] = []
        self.rejected: set[str] = set()
        #: Cleared while the nodes hang before they record a request.
        self.answering = threading.Event()
        self.answering.set()
        self._executor = SingleThreadedExecutor()
        self._nodes = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def add(self, name: str, services: dict[str, type], namespace: str = "") -> None:
        node = rclpy.create_node(name, namespace=namespace)
        for service, kind in services.items():
            node.create_service(kind, f"~/{service}", self._answer(f"{name}/{service}"))
        self._nodes.append(node)
        self._executor.add_node(node)

    def add_executor(self) -> None:
        triggers = dict.fromkeys(("stop", "resume", "reset", "step"), Trigger)
        self.add("executor_node", {**triggers, "hold": SetBool, "estop": SetBool})

    def add_policy(self, namespace: str = "") -> None:
        services = {"set_instruction": SetInstruction, "reset": Trigger}
        self.add("policy_node", services, namespace)

    def _answer(self, service: str):
        def answer(request, response):
            self.answering.wait()
            value = getattr(request, "instruction", getattr(request, "data", None))
            self.requests.append((service, value))
            response.success = service not in self.rejected
            response.message = f"answer of {service}"
            return response

        return answer

    def _spin(self) -> None:
        while not self._ended.is_set():
            self._executor.spin_once(timeout_sec=0.05)

    def end(self) -> None:
        self.answering.set()
        self._ended.set()
        self._thread.join()
        self._executor.shutdown()
        for node in self._nodes:
            node.destroy_node()
        rclpy.shutdown()


@pytest.fixture
def servers(ros_domain):
    begun = Servers()
    yield begun
    begun.end()


def sent(servers: Servers, verb: str, text: str = "", timeout: float = 20.0):
    servers.requests.clear()
    with GraphClient() as client:
        return run_command(client, COMMANDS[verb], text, timeout)


def test_each_command_calls_its_services_in_order_and_returns_the_answers(servers):
    servers.add_executor()
    servers.add_policy()
    expected = {
        "say": [("policy_node/set_instruction", "touch red")],
        "hold": [("executor_node/hold", True)],
        "release": [("executor_node/hold", False)],
        "estop": [("executor_node/estop", True)],
        "resume": [("executor_node/resume", None)],
        "step": [("executor_node/step", None)],
        "reset": [("executor_node/reset", None), ("policy_node/reset", None)],
    }
    for verb, requests in expected.items():
        outcome, replies = sent(servers, verb, "touch red")
        assert (outcome, servers.requests) == (Outcome.ACCEPTED, requests), verb
        assert [reply.message for reply in replies] == [f"answer of {s}" for s, _ in requests]
    outcome, _ = sent(servers, "stop")
    assert outcome == Outcome.ACCEPTED
    stops = {("executor_node/stop", None), ("policy_node/set_instruction", "")}
    assert set(servers.requests) == stops


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "most"),
    [("say", 1), ("release", 1), ("resume", 1), ("reset", 1), ("step", 1), ("stop", 3)],
)
def test_only_a_request_that_stops_is_repeated_while_nodes_do_not_answer(servers, verb, most):
    # A repeated resume would arrive after the emergency stop of another operator, and end it.
    servers.add_executor()
    servers.add_policy()
    assert sent(servers, "stop")[0] == Outcome.ACCEPTED
    servers.requests.clear()
    with GraphClient() as client:
        servers.answering.clear()
        outcome, replies = run_command(client, COMMANDS[verb], "touch red", 2.5)
        servers.answering.set()
        assert outcome == Outcome.NO_ANSWER
        assert "it may still carry out" in replies[0].message or verb == "stop"
        # Answered after all requests that were sent before it.
        assert run_command(client, COMMANDS["estop"], timeout=20.0)[0] == Outcome.ACCEPTED
    times = Counter(servers.requests)
    assert times.pop(("executor_node/estop", True)) >= 1
    assert 1 <= max(times.values()) <= most
    assert (max(times.values()) > 1) == (verb == "stop")


def test_a_rejection_is_returned_with_its_reason(servers):
    servers.add_executor()
    servers.rejected.add("executor_node/step")
    outcome, (reply,) = sent(servers, "step")
    assert (outcome, reply.message) == (Outcome.REJECTED, "answer of executor_node/step")


@pytest.mark.parametrize("there", ["executor_node", "policy_node"])
def test_a_stop_takes_effect_where_only_one_node_is_there(servers, there):
    servers.add_executor() if there == "executor_node" else servers.add_policy()
    with GraphClient() as client:
        # Found first, so that the short timeout counts for the node that is missing.
        service = {"executor_node": ("stop", Trigger), "policy_node": ("reset", Trigger)}[there]
        call = ServiceCall(f"{there}/{service[0]}", service[1], Trigger.Request())
        assert client.call([call], 20.0)[0].success
        outcome, replies = run_command(client, COMMANDS["stop"], timeout=0.5)
    assert outcome == Outcome.ACCEPTED
    by_node = {reply.node: reply for reply in replies}
    assert by_node.pop(there).outcome == Outcome.ACCEPTED
    (missing,) = by_node.values()
    assert missing.outcome == Outcome.NO_ANSWER


def test_a_missing_service_is_named_with_namespace_domain_and_those_elsewhere(servers, ros_domain):
    servers.add_policy("left")
    with GraphClient("right") as client:
        missing = ServiceCall("policy_node/set_instruction", SetInstruction, None)
        (error,) = client.call([missing], 0.2)
        assert isinstance(error, NoAnswerError)
        # Until the other one is discovered, it cannot be named.
        for _ in range(100):
            (error,) = client.call([missing], 0.2)
            if "in other namespaces" in str(error):
                break
    text = str(error)
    assert text.startswith("no service /right/policy_node/set_instruction within 0.2 s")
    assert f"namespace '/right', ROS_DOMAIN_ID {ros_domain}" in text
    assert "in other namespaces there is /left/policy_node/set_instruction" in text


def test_a_service_of_another_type_is_named_with_both_types(servers):
    servers.add("policy_node", {"set_instruction": Trigger})
    with GraphClient() as client:
        call = ServiceCall("policy_node/set_instruction", SetInstruction, SetInstruction.Request())
        for _ in range(100):
            (error,) = client.call([call], 0.2)
            assert isinstance(error, NoAnswerError)
            if "has the type" in str(error):
                break
    assert "std_srvs/srv/Trigger, not groot_ros/srv/SetInstruction" in str(error)
    assert servers.requests == []


def test_a_wrong_namespace_is_an_error_in_one_line(ros_domain):
    with pytest.raises(ValueError, match=r"namespace '1st' is not a ROS name: use letters"):
        GraphClient("1st")


@pytest.mark.parametrize(
    ("any_node", "outcomes", "expected"),
    [
        (True, (0, 3), 0),
        (True, (1, 3), 1),
        (True, (3, 3), 3),
        (False, (0, 1), 1),
        (False, (0, 3), 3),
    ],
)
def test_the_outcome_of_a_command_follows_from_its_replies(any_node, outcomes, expected):
    replies = [Reply("node", Outcome(number), "") for number in outcomes]
    assert Command(lambda _: [], any_node).outcome(replies) == expected
