# SPDX-License-Identifier: Apache-2.0
"""A second node that publishes what another one publishes already."""

import threading
from collections.abc import Callable

import rclpy


class Intruder:
    """Node that publishes on one topic at a steady rate; use it as a context manager.

    Args:
        name: name of the node, in the default namespace.
        kind: type of the topic.
        topic: name of the topic.
        profile: quality of service.
        make: returns the next message.
        period: s between messages.

    """

    def __init__(self, name, kind, topic, profile, make: Callable, period: float = 0.02) -> None:
        self._node = rclpy.create_node(name)
        self._publisher = self._node.create_publisher(kind, topic, profile)
        self._make = make
        self._period = period
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)

    def __enter__(self) -> "Intruder":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._node.destroy_node()

    def _run(self) -> None:
        while not self._ended.wait(self._period):
            self._publisher.publish(self._make())
