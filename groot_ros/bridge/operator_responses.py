"""What the operator is told after a request."""

from groot_ros.core import ExecutorState


def what_moves_it(state: ExecutorState, *, active: bool, otherwise: str) -> str:
    """What the robot waits for now: nothing is promised that another stop still prevents."""
    if state.latched or state.hold:
        return f"it stays stopped: {state.reason}"
    if not active:
        return "it moves once the executor is active"
    return otherwise
