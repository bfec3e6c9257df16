# SPDX-License-Identifier: Apache-2.0
"""Records of a check: what it compares, what it needs for that, and what it found."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Literal

from groot_ros.checks.machine_facts import Machine
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import PolicyConfig
from groot_ros.core.live_graph import LiveGraph
from groot_ros.families.family import PolicySpec
from groot_ros.robot import RobotContract

#: Why a check is skipped that needs a field of the context which is not known.
_UNKNOWN: Mapping[str, str] = MappingProxyType(
    {
        "spec": "no checkpoint is known: give --checkpoint",
        "weights": "no checkpoint is known: give --checkpoint",
        "robot": "no robot contract is known: give --robot",
        "policy": "the parameters of the policy are not known",
        "executor": "the parameters of the executor are not known",
        "machine": "the machine was not examined",
        "graph": "no graph was examined",
    }
)


class Severity(str, Enum):
    """Consequence of a finding."""

    #: `inspect` exits with 1 and configure fails.
    ERROR = "error"
    #: It is printed or logged.
    WARNING = "warning"


@dataclass(frozen=True)
class Context:
    """Facts that checks compare; a check whose needs are not known is skipped.

    Attributes:
        spec: inputs and outputs of the checkpoint, for one embodiment.
        robot: robot contract.
        robot_file: its path, for messages.
        policy: parameters of the policy.
        executor: parameters of the executor.
        latency: time from an observation to its published chunk, s; 0 if it is not known.
        weights: bytes of the weights of the checkpoint in memory.
        machine: facts of this machine.
        graph: facts of the running graph.
        unknown: field -> why it is not known, for people.

    """

    spec: PolicySpec | None = None
    robot: RobotContract | None = None
    robot_file: str = ""
    policy: PolicyConfig | None = None
    executor: ExecutorConfig | None = None
    latency: float = 0.0
    weights: int | None = None
    machine: Machine | None = None
    graph: LiveGraph | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)


class NotApplicable(Exception):  # noqa: N818
    """A check does not apply to what is known; the text says why."""


@dataclass(frozen=True)
class Problem:
    """One contradiction that a check has found.

    Attributes:
        key: key of the robot contract, field of the PolicySpec, name of the parameter, or part of
            machine or graph, as `Check.file` says; "" for the file as a whole.
        text: what is wrong, continuing a sentence that begins with the key.
        remedy: how to fix it, if the remedy of the check is not specific enough.

    """

    key: str
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: stable, in snake_case.
        severity: consequence of its findings.
        file: where the key of its findings is: the robot contract, the checkpoint, a parameter, the
            machine or the graph.
        compares: what it compares, for people.
        remedy: how to fix what it finds.
        needs: fields of the context, in the order of the arguments of `find`. One whose name ends
            in "?" may be unknown; `find` receives None then.
        find: returns the problems; may raise NotApplicable.

    """

    name: str
    severity: Severity
    file: Literal["robot", "checkpoint", "parameter", "machine", "graph"]
    compares: str
    remedy: str
    needs: tuple[str, ...]
    find: Callable[..., Iterable[Problem]]

    def run(self, context: Context) -> list["Finding"]:
        """Return what it finds; nothing if something that it needs is not known."""
        return list(self.verdict(context).findings)

    def verdict(self, context: Context) -> "Verdict":
        """Return what it finds, or why it was skipped."""
        values = [getattr(context, name.removesuffix("?")) for name in self.needs]
        for name, value in zip(self.needs, values, strict=True):
            if value is None and not name.endswith("?"):
                return Verdict(self, skipped=context.unknown.get(name) or _UNKNOWN[name])
        try:
            problems = list(self.find(*values))
        except NotApplicable as reason:
            return Verdict(self, skipped=str(reason))
        findings = [
            Finding(
                self.name,
                self.severity,
                f"{self._place(problem.key, context)} {problem.text}",
                problem.remedy or self.remedy,
            )
            for problem in problems
        ]
        return Verdict(self, tuple(findings))

    def _place(self, key: str, context: Context) -> str:
        """Return the file and the key of a problem, or the parameter."""
        if self.file in ("machine", "graph"):
            return key
        if self.file == "parameter":
            return f"parameter {key}"
        if self.file == "checkpoint":
            assert context.spec is not None
            return context.spec.sources.get(key, f"checkpoint: '{key}'")
        assert context.robot is not None
        file = context.robot_file or f"robot contract '{context.robot.robot}'"
        return f"{file}: '{key}'" if key else f"{file}:"


@dataclass(frozen=True)
class Finding:
    """One problem, with the check that found it.

    Attributes:
        check: name of the check.
        severity: consequence.
        text: file, key and what is wrong.
        remedy: how to fix it.

    """

    check: str
    severity: Severity
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.text}: {self.remedy}"


@dataclass(frozen=True)
class Verdict:
    """Result of one check.

    Attributes:
        check: the check.
        findings: what it found.
        skipped: why it was not run, "" if it was.

    """

    check: Check
    findings: tuple[Finding, ...] = ()
    skipped: str = ""


class CheckError(ValueError):
    """Checks have found errors; one line.

    Attributes:
        findings: the errors.

    """

    def __init__(self, findings: list[Finding]) -> None:
        first, more = str(findings[0]), len(findings) - 1
        super().__init__(first if not more else f"{first} (and {more} more, see groot-ros inspect)")
        self.findings = findings
