"""The lifecycle that every managed node shares.

A node fills four hooks; the transitions themselves are final here, because each of them has
a duty that is easy to forget: a failed configure gives back what it took, rclpy swallows
exceptions of transition callbacks without a word, and shutdown must stop before it tears down.

    configure -> setup()      parameters, model, publishers
    activate  -> start()      timers, threads
    deactivate-> stop()       the safe stop, last message included
    cleanup   -> teardown()   give everything back; must cope with a half-done setup()
"""

import traceback
from collections.abc import Callable

from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn

from groot_ros.nodes.guarded import GuardedNode

try:
    from rclpy.impl.implementation_singleton import rclpy_implementation

    RCLError: type[Exception] = rclpy_implementation.RCLError
except (ImportError, AttributeError):
    RCLError = InvalidHandle

OK = TransitionCallbackReturn.SUCCESS
FAILED = TransitionCallbackReturn.FAILURE


class SetupError(RuntimeError):
    """A transition cannot be made, for a reason that the user can mend; one readable line."""


class ManagedNode(LifecycleNodeMixin, GuardedNode):
    """A lifecycle node with setup/start/stop/teardown hooks."""

    def __init__(self, name: str) -> None:
        GuardedNode.__init__(self, name)
        # Reentrant, so that get_state answers while configure loads a model.
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        self._refuse_impossible_transitions()
        self._configured = False
        self._active = False
        self.declare_parameter(
            "autostart",
            False,
            ParameterDescriptor(description="Configure and activate at start", read_only=True),
        )

    @property
    def wants_autostart(self) -> bool:
        """The `autostart` parameter."""
        return bool(self.get_parameter("autostart").value)

    def autostart(self) -> bool:
        """Configure and activate; whether both succeeded."""
        return self.trigger_configure() == OK and self.trigger_activate() == OK

    @property
    def active(self) -> bool:
        """Whether the node is between activate and deactivate."""
        return self._active

    def setup(self) -> None:
        """Hook of configure."""

    def start(self) -> None:
        """Hook of activate."""

    def stop(self) -> None:
        """Hook of deactivate."""

    def teardown(self) -> None:
        """Hook of cleanup; also called after a failed setup()."""

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Final: see setup()."""
        if not self._attempt("configure", self.setup):
            self._attempt("cleanup after the failed configure", self.teardown)
            return FAILED
        self._configured = True
        return OK

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Final: see start()."""
        if not self._attempt("activate", self.start):
            self._attempt("stop after the failed activate", self.stop)
            return FAILED
        self._active = True
        self.get_logger().info("active")
        return OK

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Final: see stop(). A failing stop still leaves the node inactive."""
        self._active = False
        self._attempt("deactivate", self.stop)
        return OK

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Final: see teardown()."""
        self._configured = False
        return OK if self._attempt("cleanup", self.teardown) else TransitionCallbackReturn.ERROR

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Final: stop, then tear down, whatever the state."""
        self.close()
        return OK

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Final: back to unconfigured, everything given back."""
        self.close()
        return OK

    def close(self) -> None:
        """Stop and tear down; safe to call twice, and the way out of a killed process."""
        if self._active:
            self._active = False
            self._attempt("stop", self.stop)
        if self._configured:
            self._configured = False
            self._attempt("teardown", self.teardown)

    def _attempt(self, what: str, hook: Callable[[], None]) -> bool:
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

    def _refuse_impossible_transitions(self) -> None:
        # rclpy lets the state machine's error escape from the service callback, which ends
        # the process: `ros2 lifecycle set` with a transition of another state would kill a robot.
        service = self._service_change_state
        change_state = service.callback

        def rejecting(
            request: ChangeState.Request, response: ChangeState.Response
        ) -> ChangeState.Response:
            try:
                return change_state(request, response)
            except RCLError as error:
                first_line = str(error).splitlines()[0]
                self.get_logger().warning(f"transition rejected: {first_line}")
                response.success = False
                return response

        # Rclpy makes this service by itself, so not even that it is under way is known otherwise.
        service.callback = self._guarded(rejecting, answers=True)
