"""Declares a table of parameters on a node and keeps its values checked.

A parameter is live (tunable while the node runs) or locked: a locked one can be set while
the node is unconfigured, and is rejected afterwards with the reason, because what was built
from it in configure would not follow. ROS's own use_sim_time never changes: timers are made with
the clock that it names.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

#: For lock(): of nodes without a lifecycle.
READ_ONCE = "it is read once, when the node starts: start it anew"

Value: TypeAlias = bool | int | float | str | list[str]


@dataclass(frozen=True)
class Parameter:
    """One row of a node's parameter table.

    Attributes:
        default: its type is the parameter's type.
        unit: for the reader, "" when it has none.
        minimum, maximum: bounds of a number, both inclusive; None = open.
        choices: the words allowed; empty = any.
        live: tunable while the node is configured.

    """

    name: str
    default: Value
    description: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False

    def meant(self, value: Value) -> Value:
        """The value; "off" for YAML's false of an unquoted off, and 1.0 for a 1 without a point."""
        if value is False and "off" in self.choices:
            return "off"
        if isinstance(self.default, float) and type(value) is int:
            return float(value)
        return value

    def problem(self, value: object) -> str:
        """Why the value is rejected, or an empty string."""
        if isinstance(self.default, float) and type(value) is not float:
            return f"{self.name} must be a number, not {value!r}"
        if isinstance(value, int | float) and not isinstance(value, bool):
            if self.minimum is not None and not value >= self.minimum:
                return f"{self.name} must be at least {self.minimum:g}, not {value:g}"
            if self.maximum is not None and not value <= self.maximum:
                return f"{self.name} must be at most {self.maximum:g}, not {value:g}"
        if self.choices and value not in self.choices:
            return f"{self.name} must be one of {', '.join(self.choices)}, not '{value}'"
        return ""

    @property
    def _takes_any_type(self) -> bool:
        # rclpy refuses an int for a double, and false for the word off, before anybody is asked.
        return isinstance(self.default, float) or "off" in self.choices

    def descriptor(self) -> ParameterDescriptor:
        """What `ros2 param describe` and rqt_reconfigure show."""
        text = f"{self.description} [{self.unit}]" if self.unit else self.description
        descriptor = ParameterDescriptor(description=text, dynamic_typing=self._takes_any_type)
        if self.choices:
            descriptor.additional_constraints = f"one of {', '.join(self.choices)}"
        if self.minimum is not None and self.maximum is not None:
            if isinstance(self.default, float):
                descriptor.floating_point_range = [
                    FloatingPointRange(from_value=float(self.minimum), to_value=float(self.maximum))
                ]
            elif isinstance(self.default, int) and not isinstance(self.default, bool):
                descriptor.integer_range = [
                    IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum), step=1)
                ]
        return descriptor


class Parameters:
    """The checked values of one node's table.

    Raises:
        ValueError: a value of the command line or the user's file; names its row.

    """

    def __init__(self, node: Node, table: Sequence[Parameter]) -> None:
        self._table = {p.name: p for p in table}
        self._values: dict[str, Value] = {}
        self._locked = ""
        self._on_change: Callable[[str, Value], None] | None = None
        for row in table:
            self._values[row.name] = _declare(node, row)
        self._sim_time = node.get_parameter("use_sim_time").value
        node.add_on_set_parameters_callback(self._set)
        self._warn_of_unknown(node)

    def lock(self, how_to_change: str = "run cleanup first") -> None:
        """Refuse changes of the parameters that are not live."""
        self._locked = how_to_change

    def unlock(self) -> None:
        """Take changes of every parameter again."""
        self._locked = ""

    @staticmethod
    def _warn_of_unknown(node: Node) -> None:
        """Name what a file or command line sets and nobody declares: a typo, most likely."""
        for name in node._parameter_overrides:
            if not node.has_parameter(name) and not name.startswith("qos_overrides."):
                near = difflib.get_close_matches(name, node._parameters, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                node.get_logger().warning(f"parameter {name} is not one of this node's{hint}")

    def on_change(self, callback: Callable[[str, Value], None]) -> None:
        """Call with (name, value) for each change; what it refuses with ValueError stays as is."""
        self._on_change = callback

    def value(self, name: str) -> Value:
        """Any parameter."""
        return self._values[name]

    def number(self, name: str) -> float:
        """A float parameter."""
        value = self._values[name]
        assert isinstance(value, float), name
        return value

    def integer(self, name: str) -> int:
        """An int parameter."""
        value = self._values[name]
        assert isinstance(value, int), name
        return value

    def flag(self, name: str) -> bool:
        """A bool parameter."""
        value = self._values[name]
        assert isinstance(value, bool), name
        return value

    def text(self, name: str) -> str:
        """A string parameter."""
        value = self._values[name]
        assert isinstance(value, str), name
        return value

    def names(self, name: str) -> list[str]:
        """A list-of-strings parameter."""
        value = self._values[name]
        return [str(v) for v in value] if isinstance(value, list | tuple) else []

    def _set(self, changes: list[RosParameter]) -> SetParametersResult:
        for change in changes:
            row = self._table.get(change.name)
            problem = "" if row is None else row.problem(row.meant(change.value))
            if not problem and self._locked and row is not None and not row.live:
                problem = f"{change.name} cannot change now: {self._locked}"
            if change.name == "use_sim_time" and change.value != self._sim_time:
                problem = f"use_sim_time cannot change: {READ_ONCE}"
            if problem:
                return SetParametersResult(successful=False, reason=problem)
        for change in changes:
            if change.name in self._table:
                problem = self._change(change.name, self._table[change.name].meant(change.value))
                if problem:
                    return SetParametersResult(successful=False, reason=problem)
        return SetParametersResult(successful=True)

    def _change(self, name: str, value: Value) -> str:
        """Why it was rejected, or an empty string."""
        old, self._values[name] = self._values[name], value
        try:
            if self._on_change is not None:
                self._on_change(name, value)
        except ValueError as error:
            self._values[name] = old
            return str(error)
        return ""


def _declare(node: Node, row: Parameter) -> Value:
    try:
        declared = node.declare_parameter(row.name, row.default, row.descriptor())
    except ParameterException as error:
        raise ValueError(f"{row.name} must be like {row.default!r}: {error}") from error
    value = row.meant(declared.value)
    problem = row.problem(value)
    if problem:
        raise ValueError(problem)
    return value
