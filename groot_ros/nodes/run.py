"""How a node's process runs and ends.

The signals are our own: rclpy's handlers would take the context down first, and then the
last message (a hold) could no longer be published. A second signal during the way out is
ignored, because `timeout`, terminals and `ros2 launch` signal whole groups.
"""

import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

import rclpy
from rclpy.exceptions import InvalidHandle
from rclpy.executors import Executor, MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from groot_ros.nodes.guarded import GuardedNode
from groot_ros.nodes.lifecycle import ManagedNode

#: A signal is noticed within this long, s: the executor's wait cannot be interrupted.
_SIGNAL_POLL = 0.1
#: Callbacks under way, and the start, may take this long to end, s: then the process leaves them.
_LAST_CALLS = 1.0
_SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def run(make_node: Callable[[], Node], *, threads: int = 1, args: list[str] | None = None) -> None:
    """Spin the node until SIGINT, SIGTERM or SIGHUP, then close it while it can still publish."""
    # A crash in a library is otherwise an end without a word.
    faulthandler.enable()
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    ended: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        ended.append(number)

    for number in _SIGNALS:
        # Of nohup, an ignored SIGHUP stays ignored; of a background job, no SIGINT does.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, on_signal)
    try:
        node = make_node()
    except ValueError as error:
        print(f"groot_ros: {error}", file=sys.stderr)
        rclpy.shutdown()
        _ignore_signals()
        sys.exit(2)
    executor: Executor = (
        SingleThreadedExecutor() if threads == 1 else MultiThreadedExecutor(num_threads=threads)
    )
    executor.add_node(node)
    failed = threading.Event()
    # Beside the spinning executor, so that services answer while a model loads.
    starting = threading.Thread(target=_autostart, args=(node, failed), daemon=True)
    starting.start()
    try:
        while not ended and not failed.is_set() and rclpy.ok():
            if not _spin_once(executor, node):
                break
    finally:
        # What is being started is closed after it, not before.
        starting.join(_LAST_CALLS)
        close = getattr(node, "close", None)
        if close is not None:
            close()
        silent = not isinstance(node, GuardedNode) or node.drain_callbacks(_LAST_CALLS)
        if starting.is_alive() or not silent:
            _leave(not ended)
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        rclpy.try_shutdown()
        _ignore_signals()
    # Without a signal, the node itself took its context down: it could not go on.
    if failed.is_set() or not ended:
        sys.exit(1)


def _spin_once(executor: Executor, node: Node) -> bool:
    """Whether the node can go on."""
    try:
        executor.spin_once(timeout_sec=_SIGNAL_POLL)
    except InvalidHandle as error:
        # rclpy's executor looked at something that a transition was just destroying. The next
        # look is at what is left; to end here would kill a robot's node for a cleanup.
        node.get_logger().debug(f"destroyed while the executor looked at it: {error}")
    except Exception:
        # Not of a managed node's callbacks, which are guarded: nothing is known to be heard any
        # more. The way out stops the robot.
        node.get_logger().fatal(f"the node ends: {traceback.format_exc()}")
        return False
    return True


def _leave(status: int) -> NoReturn:
    """Without Python's own end, which aborts while a thread of it loads a model in C++."""
    rclpy.try_shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _ignore_signals() -> None:
    # Python, while it ends, gives up handlers of its own; what is ignored stays so.
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _autostart(node: Node, failed: threading.Event) -> None:
    if not isinstance(node, ManagedNode) or not node.wants_autostart:
        return
    try:
        done = node.autostart()
    except Exception:
        node.get_logger().fatal(f"autostart failed: {traceback.format_exc()}")
        done = False
    if not done:
        failed.set()
