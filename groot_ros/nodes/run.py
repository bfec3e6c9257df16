# SPDX-License-Identifier: Apache-2.0
"""Run a node's process until a signal, and end it in order.

The signal handlers are our own: rclpy's would shut the context down first, so that the last
message (a hold) could no longer be published. A second signal during shutdown is ignored, because
`timeout`, terminals and `ros2 launch` signal whole process groups.
"""

import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import NoReturn

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import Executor, MultiThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from groot_ros.bridge import rclpy_patches
from groot_ros.nodes.guarded import GuardedNode
from groot_ros.nodes.lifecycle import ManagedNode

#: A signal is noticed within this time, s: the executor's wait cannot be interrupted.
_SIGNAL_POLL = 0.1
#: Time for running callbacks, and for the autostart, to end, s; the process does not wait longer.
_DRAIN_TIMEOUT = 1.0
_SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def run(make_node: Callable[[], Node], *, threads: int = 1, args: list[str] | None = None) -> None:
    """Run the node until SIGINT, SIGTERM or SIGHUP, then close it while it can still publish.

    Exits with status 2 if an argument or a parameter is wrong, with 1 if the autostart failed or
    the node ended without a signal.
    """
    # Without it, a crash in a library ends the process silently.
    faulthandler.enable()
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # a file of parameters or another ROS argument
        _reject(str(error))
    received: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    for number in _SIGNALS:
        # SIGHUP stays ignored under nohup. A background job's ignored SIGINT does not.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, on_signal)
    try:
        node = make_node()
    except (ValueError, ParameterException) as error:
        _reject(str(error))
    executor: Executor = (
        rclpy_patches.FrugalExecutor()
        if threads == 1
        else MultiThreadedExecutor(num_threads=threads)
    )
    clock = rclpy_patches.ClockThread(node)
    executor.add_node(node)
    failed = threading.Event()
    # In a thread next to the spinning executor, so that services answer while a model loads.
    starting = threading.Thread(target=_autostart, args=(node, failed), daemon=True)
    starting.start()
    try:
        while not received and not failed.is_set() and rclpy.ok():
            if not _spin_once(executor, node):
                break
    finally:
        # Wait for the start, so that close() comes after it.
        starting.join(_DRAIN_TIMEOUT)
        close = getattr(node, "close", None)
        if close is not None:
            close()
        drained = not isinstance(node, GuardedNode) or node.drain_callbacks(_DRAIN_TIMEOUT)
        if starting.is_alive() or not drained:
            _exit_now(not received)
        clock.stop()
        rclpy_patches.shut_down(executor, _DRAIN_TIMEOUT, partial(_report_destroyed, node))
        node.destroy_node()
        rclpy.try_shutdown()
        _ignore_signals()
    # Without a signal, the node shut its context down because it could not continue.
    if failed.is_set() or not received:
        sys.exit(1)


def _spin_once(executor: Executor, node: Node) -> bool:
    """Spin once; return whether the node can continue."""
    try:
        rclpy_patches.spin_once(executor, _SIGNAL_POLL, partial(_report_destroyed, node))
    except Exception:
        # The callbacks of a managed node are guarded, so this is rclpy's, and nothing can be
        # relied on to be received any more. Closing the node stops the robot.
        node.get_logger().fatal(f"the node ends: {traceback.format_exc()}")
        return False
    return True


def _report_destroyed(node: Node, error: str) -> None:
    node.get_logger().debug(f"destroyed while spinning: {error}")


def _reject(problem: str) -> NoReturn:
    """Exit with status 2 and one line, as an argument or a parameter is wrong."""
    print(f"groot_ros: {' '.join(problem.split())}", file=sys.stderr)
    rclpy.try_shutdown()
    _ignore_signals()
    sys.exit(2)


def _exit_now(status: int) -> NoReturn:
    """Exit without Python's finalisation, which aborts while a C++ thread loads a model."""
    rclpy.try_shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _ignore_signals() -> None:
    # Python removes its own handlers during finalisation; ignored signals stay ignored.
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _autostart(node: Node, failed: threading.Event) -> None:
    if not isinstance(node, ManagedNode):
        return
    if not node.wants_autostart:
        node.get_logger().info("unconfigured: waiting for configure (autostart is false)")
        return
    try:
        done = node.autostart()
    except Exception:
        node.get_logger().fatal(f"autostart failed: {traceback.format_exc()}")
        done = False
    if not done:
        failed.set()
