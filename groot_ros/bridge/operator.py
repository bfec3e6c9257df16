# SPDX-License-Identifier: Apache-2.0
"""Client of the running graph: publish instructions and observe chunks, states and joints."""

import threading
from dataclasses import dataclass, field

from sensor_msgs.msg import JointState
from std_msgs.msg import String

from groot_ros.bridge import qos
from groot_ros.bridge.graph_client import GraphClient
from groot_ros.msg import ActionChunk, ExecutorState, PolicyStatus
from groot_ros.robot import RobotContract


@dataclass
class Snapshot:
    """Counts and last values of the messages received so far.

    Attributes:
        chunks: chunks received.
        chunk_age: chunk age in the last executor state, s.
        infer_p50: sum of the stages' median durations, s.
        travelled: joint -> range of its measured position, rad or m.
        policy_rejections: reason -> count, from the policy's status.
        latched_stop: reason of the executor's stop that only ~/resume ends; empty without one.

    """

    chunks: int = 0
    chunk_age: float = 0.0
    infer_p50: float = 0.0
    travelled: dict[str, float] = field(default_factory=dict)
    policy_rejections: dict[str, int] = field(default_factory=dict)
    latched_stop: str = ""


class Operator:
    """Node with its own context and thread; use it as a context manager.

    Attributes:
        running: set once the executor reports RUNNING.

    """

    def __init__(self, contract: RobotContract, namespace: str = "") -> None:
        self._client = GraphClient(namespace, "operator")
        node = self._client.node
        self._lock = threading.Lock()
        self._seen = Snapshot()
        self._range: dict[str, tuple[float, float]] = {}
        self.running = threading.Event()
        self._instruction = node.create_publisher(String, "instruction", qos.LATCHED)
        subscribe = node.create_subscription
        subscribe(ActionChunk, "action_chunk", self._on_chunk, qos.CHUNKS)
        subscribe(ExecutorState, "executor_state", self._on_executor, qos.LATCHED)
        subscribe(PolicyStatus, "policy_status", self._on_policy, qos.LATCHED)
        for source in contract.sources:
            subscribe(JointState, source.topic, self._on_joints, qos.JOINT_STATES)

    def __enter__(self) -> "Operator":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def instruct(self, instruction: str) -> None:
        """Publish the (latched) instruction; an empty one is a bounded stop."""
        self._instruction.publish(String(data=instruction))

    def restart_travel(self) -> None:
        """Reset `travelled` to zero."""
        with self._lock:
            self._range.clear()

    def snapshot(self) -> Snapshot:
        """Return a copy of what was received so far."""
        with self._lock:
            self._seen.travelled = {j: high - low for j, (low, high) in self._range.items()}
            return Snapshot(**vars(self._seen))

    def _on_chunk(self, _msg: ActionChunk) -> None:
        with self._lock:
            self._seen.chunks += 1

    def _on_executor(self, msg: ExecutorState) -> None:
        with self._lock:
            self._seen.chunk_age = msg.chunk_age
            self._seen.latched_stop = msg.reason if msg.latched else ""
        if msg.status == ExecutorState.RUNNING:
            self.running.set()

    def _on_policy(self, msg: PolicyStatus) -> None:
        with self._lock:
            self._seen.infer_p50 = float(sum(stage.p50 for stage in msg.stages))
            self._seen.policy_rejections = {r.code: r.count for r in msg.rejections}

    def _on_joints(self, msg: JointState) -> None:
        with self._lock:
            for name, position in zip(msg.name, msg.position, strict=False):
                low, high = self._range.get(name, (position, position))
                self._range[name] = (min(low, position), max(high, position))
