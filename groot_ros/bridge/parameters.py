# SPDX-License-Identifier: Apache-2.0
"""ROS parameters of a node, derived from its configuration dataclass (`core.config`).

A live parameter can change while the node is configured. Changes of the others are rejected in that
state, because the objects that configure created from them would not change; they can change after
cleanup.
"""

import difflib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from groot_ros.bridge import rclpy_patches
from groot_ros.core.config import Parameter, parameters_of

#: Argument of lock() for nodes without a lifecycle.
READ_ONCE = "it is read when the node starts; restart the node to change it"

C = TypeVar("C")


class Parameters(Generic[C]):
    """Parameters of one node, and the configuration that they currently give.

    Args:
        node: declares every exposed field of the configuration.
        config_type: a configuration dataclass.

    Raises:
        ValueError: a value of the command line or of a parameter file; names the parameter.

    """

    def __init__(self, node: Node, config_type: type[C]) -> None:
        self._parameters = {p.name: p for p in parameters_of(config_type) if p.exposed}
        self._locked = ""
        self._on_change: Callable[[C], None] | None = None
        values = {p.field_name: _declare(node, p) for p in self._parameters.values()}
        self._config = config_type(**values)
        # Timers are created with the clock that use_sim_time names, so it cannot change either.
        self._sim_time = node.get_parameter("use_sim_time").value
        node.add_on_set_parameters_callback(self._set)
        self._warn_of_unknown(node)

    @property
    def config(self) -> C:
        """Return the current configuration; a change replaces it."""
        return self._config

    def lock(self, how_to_change: str = "run cleanup first") -> None:
        """Reject changes of parameters that are not live."""
        self._locked = how_to_change

    def unlock(self) -> None:
        """Accept changes of all parameters again."""
        self._locked = ""

    def on_change(self, callback: Callable[[C], None]) -> None:
        """Call with the new configuration after each change.

        A change for which the callback raises ValueError is rejected with that message.
        """
        self._on_change = callback

    def _warn_of_unknown(self, node: Node) -> None:
        """Warn of values that no parameter takes: most likely a misspelt name."""
        former = {p.former_name for p in self._parameters.values()}
        # rclpy has no public list of the values that it was given.
        for name in node._parameter_overrides:
            if name in former or name.startswith("qos_overrides.") or node.has_parameter(name):
                continue
            near = difflib.get_close_matches(name, self._parameters, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            node.get_logger().warning(f"this node has no parameter {name}{hint}")

    def _set(self, changes: list[RosParameter]) -> SetParametersResult:
        for change in changes:
            if problem := self._problem(change):
                return SetParametersResult(successful=False, reason=problem)
        for change in changes:
            if change.name in self._parameters:
                problem = self._change(self._parameters[change.name], change.value)
                if problem:
                    return SetParametersResult(successful=False, reason=problem)
                _store_with_type(self._parameters[change.name], change)
        return SetParametersResult(successful=True)

    def _problem(self, change: RosParameter) -> str:
        if change.name == "use_sim_time" and change.value != self._sim_time:
            return f"use_sim_time cannot change: {READ_ONCE}"
        declared = self._parameters.get(change.name)
        if declared is None:
            return ""
        value = declared.parsed(change.value)
        problem = declared.problem(value)
        # Tools that load a dump of all parameters also set those that cannot change.
        unchanged = value == getattr(self._config, declared.field_name)
        if not problem and self._locked and not declared.live and not unchanged:
            problem = f"{change.name} cannot change now: {self._locked}"
        return problem

    def _change(self, declared: Parameter, value: Any) -> str:
        """Apply one change; return why it was rejected, or an empty string."""
        before = self._config
        change: dict[str, Any] = {declared.field_name: declared.parsed(value)}
        try:
            self._config = replace(before, **change)  # type: ignore[type-var]
            if self._on_change is not None:
                self._on_change(self._config)
        except ValueError as error:
            self._config = before
            return str(error)
        return ""


def descriptor(parameter: Parameter) -> ParameterDescriptor:
    """Return what `ros2 param describe` and rqt_reconfigure show."""
    unit = f" [{parameter.unit}]" if parameter.unit else ""
    described = ParameterDescriptor(
        description=parameter.description + unit,
        # rclpy would reject an integer for a double, and false for the choice "off", before
        # _set() sees it.
        dynamic_typing=isinstance(parameter.default, float) or "off" in parameter.choices,
    )
    changes = "changes while active" if parameter.live else "changes after cleanup only"
    described.additional_constraints = "; ".join(
        [f"one of {', '.join(parameter.choices)}"] * bool(parameter.choices) + [changes]
    )
    low, high = parameter.minimum, parameter.maximum
    if low is not None and high is not None:
        if isinstance(parameter.default, float):
            described.floating_point_range = [
                FloatingPointRange(from_value=float(low), to_value=float(high))
            ]
        else:
            described.integer_range = [
                IntegerRange(from_value=int(low), to_value=int(high), step=1)
            ]
    return described


def _declare(node: Node, parameter: Parameter) -> Any:
    """Declare a parameter; return its parsed value."""
    former = _former_value(node, parameter)
    default = parameter.default if former is None else former
    if isinstance(default, tuple):
        # ROS cannot tell the type of an empty list.
        default = list(default) or [""]
    try:
        given = node.declare_parameter(parameter.name, default, descriptor(parameter)).value
    except ParameterException as error:
        # rclpy has no public access to the value that it rejected.
        rejected = node._parameter_overrides[parameter.name].value
        problem = parameter.problem(parameter.parsed(rejected))
        raise ValueError(problem or f"{parameter.name}: {error}") from error
    value = parameter.parsed(given)
    if problem := parameter.problem(value):
        raise ValueError(problem)
    _store_with_type(parameter, node.get_parameter(parameter.name))
    if warning := parameter.rename_warning(given):
        node.get_logger().warning(warning)
    return value


def _store_with_type(parameter: Parameter, given: RosParameter) -> None:
    """Store a number of a double parameter as a double, also if it has no decimal point."""
    if isinstance(parameter.default, float) and given.type_ == RosParameter.Type.INTEGER:
        rclpy_patches.store_as_double(given)


def _former_value(node: Node, parameter: Parameter) -> Any:
    """Return the checked value given under the parameter's former name, or None."""
    name = parameter.former_name
    if not name:
        return None
    node.declare_parameter(name, None, ParameterDescriptor(dynamic_typing=True))
    value = node.get_parameter(name).value
    node.undeclare_parameter(name)
    if value is None:
        return None
    node.get_logger().warning(
        f"parameter {name} is now called {parameter.name}; please rename it: the old name will "
        "be removed in the next version"
    )
    value = parameter.parsed(value)
    if problem := parameter.problem(value):
        raise ValueError(f"{name}: {problem}")
    return value
