# SPDX-License-Identifier: Apache-2.0
"""Client of the nodes with a simulated robot that judges: scenes, instructions, outcomes."""

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import Trigger

from groot_ros.bridge import qos
from groot_ros.bridge.graph_client import NoAnswerError, ServiceCall
from groot_ros.bridge.operator import Operator
from groot_ros.core import time_to_ns
from groot_ros.msg import ExecutorState
from groot_ros.robot import RobotContract

#: s until a service must answer, and between two tries.
_ANSWER_TIMEOUT, _RETRY = 5.0, 0.05


class SimClient(Operator):
    """Operator of a robot that judges; use it as a context manager.

    Attributes:
        episode: newest state of the episode, see nodes/sim_episodes; {"index": -1} before one.
        chunks: ids of the chunks that were executed; may be cleared.
        rejections: code -> number of chunks that the executor has rejected.
        on_frame: called with the stamp in ns of each image of `camera`, and a function that returns
            it as RGB [H, W, 3]; None = images are dropped.

    Args:
        camera: topic of images, rgb8; empty = none.

    """

    def __init__(self, contract: RobotContract, namespace: str = "", camera: str = "") -> None:
        self.episode: dict[str, Any] = {"index": -1}
        self.chunks: set[int] = set()
        self.rejections: dict[str, int] = {}
        # Its thread calls the methods below from here on.
        super().__init__(contract, namespace)
        node = self._client.node
        node.create_subscription(String, "sim_robot_node/episode", self._on_episode, qos.LATCHED)
        self.on_frame: Callable[[int, Callable[[], NDArray[np.uint8]]], None] | None = None
        if camera:
            node.create_subscription(Image, camera, self._on_image, qos.SENSOR)

    def __enter__(self) -> "SimClient":
        return self

    def begin_scene(self) -> str:
        """Begin the next scene once the arm has stopped; return its instruction.

        Raises:
            RuntimeError: no answer, or the arm does not stop.

        """
        deadline = time.monotonic() + _ANSWER_TIMEOUT
        while not (answer := self._call("sim_robot_node/reset")).success:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the simulated robot begins no scene: {answer.message}")
            time.sleep(_RETRY)
        return str(answer.message)

    def resume(self) -> None:
        """End a latched stop of the executor; RuntimeError without an answer."""
        self._call("executor_node/resume")

    def _call(self, service: str) -> Any:
        call = ServiceCall(service, Trigger, Trigger.Request())
        (answer,) = self._client.call([call], _ANSWER_TIMEOUT)
        if isinstance(answer, NoAnswerError):
            raise RuntimeError(str(answer))
        return answer

    def _on_image(self, msg: Image) -> None:
        if (receive := self.on_frame) is not None:
            image = np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.width, 3)
            receive(time_to_ns(msg.header.stamp), lambda: image)

    def _on_episode(self, msg: String) -> None:
        self.episode = json.loads(msg.data)

    def _on_executor(self, msg: ExecutorState) -> None:
        super()._on_executor(msg)
        self.rejections = {r.code: int(r.count) for r in msg.rejections}
        if msg.status == ExecutorState.RUNNING:
            self.chunks.add(int(msg.chunk_id))
