# SPDX-License-Identifier: Apache-2.0
"""The lifecycle that all managed nodes share.

A node implements four hooks. The transition callbacks themselves are final, because they have
duties that are easy to forget: a failed configure releases what it acquired, exceptions are logged
(rclpy swallows those of transition callbacks), and shutdown stops before it tears down.

    configure  -> setup()     parameters, model, publishers
    activate   -> start()     timers, threads
    deactivate -> stop()      the safe stop, including its last message
    cleanup    -> teardown()  release everything; must cope with an incomplete setup()
"""

import traceback
from collections.abc import Callable
from functools import partial

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn

from groot_ros.bridge import rclpy_patches
from groot_ros.nodes.guarded import GuardedNode

OK = TransitionCallbackReturn.SUCCESS
FAILED = TransitionCallbackReturn.FAILURE


class SetupError(RuntimeError):
    """A transition is not possible for a reason that the user can fix; one readable line."""


class ManagedNode(LifecycleNodeMixin, GuardedNode):
    """Lifecycle node with the hooks setup, start, stop and teardown."""

    def __init__(self, name: str) -> None:
        GuardedNode.__init__(self, name)
        # Reentrant, so that get_state answers while configure loads a model.
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        rclpy_patches.guard_change_state(
            self,
            partial(self.guarded, answers=True),
            lambda reason: self.get_logger().warning(f"transition rejected: {reason}"),
        )
        self._configured = False
        self._active = False
        self.declare_parameter(
            "autostart",
            False,
            ParameterDescriptor(description="Configure and activate at start", read_only=True),
        )

    @property
    def wants_autostart(self) -> bool:
        """Return the value of the parameter `autostart`."""
        return bool(self.get_parameter("autostart").value)

    def autostart(self) -> bool:
        """Configure and activate; return whether both succeeded."""
        return self.trigger_configure() == OK and self.trigger_activate() == OK

    @property
    def active(self) -> bool:
        """Return whether the node is between activate and deactivate."""
        return self._active

    @property
    def lifecycle_state(self) -> int:
        """Return the id of the present state, see lifecycle_msgs/State."""
        return rclpy_patches.lifecycle_state(self)

    def setup(self) -> None:
        """Prepare the node; hook of configure."""

    def start(self) -> None:
        """Start the node's work; hook of activate."""

    def stop(self) -> None:
        """Stop the node's work; hook of deactivate."""

    def teardown(self) -> None:
        """Release everything; hook of cleanup, also called after a failed setup()."""

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Call setup(); call teardown() if it fails. Final."""
        if not self._attempt("configure", self.setup):
            self._attempt("cleanup after the failed configure", self.teardown)
            return FAILED
        self._configured = True
        return OK

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Call start(); call stop() if it fails. Final."""
        if not self._attempt("activate", self.start):
            self._attempt("stop after the failed activate", self.stop)
            return FAILED
        self._active = True
        self.get_logger().info("active")
        return OK

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Call stop(); the node becomes inactive even if it fails. Final."""
        self._active = False
        self._attempt("deactivate", self.stop)
        return OK

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Call teardown(). Final."""
        self._configured = False
        return OK if self._attempt("cleanup", self.teardown) else TransitionCallbackReturn.ERROR

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop, then tear down, in any state. Final."""
        self.close()
        self.get_logger().info("shut down; the process runs until it is ended, as by Ctrl-C")
        return OK

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything and return to unconfigured. Final."""
        self.close()
        return OK

    def close(self) -> None:
        """Stop and tear down, at the end of the process as well; may be called twice."""
        if self._active:
            self._active = False
            self._attempt("stop", self.stop)
        if self._configured:
            self._configured = False
            self._attempt("teardown", self.teardown)

    def _attempt(self, what: str, hook: Callable[[], None]) -> bool:
        """Call a hook; log its exception and return whether there was none."""
        try:
            hook()
        except SetupError as error:
            self.get_logger().error(f"{what} failed: {error}")
            return False
        except Exception as error:
            self.get_logger().error(
                f"{what} failed: {type(error).__name__}: {error}\n{traceback.format_exc()}"
            )
            return False
        return True
