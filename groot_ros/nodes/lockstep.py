# SPDX-License-Identifier: Apache-2.0
"""Nodes of one process whose callbacks run when asked, so that simulated time can wait for them."""

import time
from collections.abc import Callable, Mapping, Sequence

from rclpy.executors import SingleThreadedExecutor, TimeoutException
from rclpy.node import Node

#: s between two looks while waiting for DDS.
_POLL = 0.005


class SteppedNodes:
    """Runs the callbacks of nodes in this thread, one node after another.

    Args:
        nodes: in the order in which they work.
        wait_for_threads: node -> waits for what its threads have been given by its callbacks.
        timeout: s within which the nodes must have found each other, or answer a request.

    """

    def __init__(
        self,
        nodes: Sequence[Node],
        wait_for_threads: Mapping[Node, Callable[[], object]] | None = None,
        timeout: float = 60.0,
    ) -> None:
        self._timeout = timeout
        self._wait_for_threads = dict(wait_for_threads or {})
        self._spinners = [(node, SingleThreadedExecutor()) for node in nodes]
        for node, spinner in self._spinners:
            spinner.add_node(node)

    def close(self) -> None:
        """Close and destroy the nodes."""
        for node, spinner in self._spinners:
            getattr(node, "close", lambda: None)()
            spinner.remove_node(node)
            spinner.shutdown()
            node.destroy_node()

    def settle(self, only: Node | None = None) -> None:
        """Run the callbacks of all nodes, or of one, until there is nothing left to do."""
        chosen = [own for own in self._spinners if only in (None, own[0])]
        quiet = False
        while not quiet:
            quiet = True
            for node, spinner in chosen:
                quiet = not _run_ready(spinner) and quiet
                if (wait := self._wait_for_threads.get(node)) is not None:
                    wait()

    def wait_for(self, missing: Callable[[], Sequence[str]], problem: str) -> None:
        """Run callbacks until nothing is missing.

        Raises:
            RuntimeError: something still is after the timeout; has `problem` and what is missing.

        """
        deadline = time.monotonic() + self._timeout
        self.settle()
        while names := missing():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{problem} within {self._timeout:g} s: {', '.join(names)}")
            time.sleep(_POLL)
            self.settle()

    def unmatched(self) -> list[str]:
        """Return the topics of publishers that have found fewer subscriptions than there are."""
        return [
            publisher.topic_name
            for node, _ in self._spinners
            for publisher in node.publishers
            if publisher.get_subscription_count() < node.count_subscribers(publisher.topic_name)
        ]


def _run_ready(spinner: SingleThreadedExecutor) -> bool:
    """Run all callbacks that are ready; return whether there was one."""
    found = False
    while True:
        try:
            handler, _, _ = spinner.wait_for_ready_callbacks(timeout_sec=0.0)
        except TimeoutException:
            return found
        found = True
        handler()
        if (error := handler.exception()) is not None:
            raise error
