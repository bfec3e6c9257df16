# SPDX-License-Identifier: Apache-2.0
"""`groot-ros doctor`: check machine, graph, contract and checkpoint; a remedy for each fault."""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from groot_ros.bringup.arguments import absolute_namespace, require_namespace
from groot_ros.cli import add_command, pluralise
from groot_ros.core import PolicyConfig
from groot_ros.core.config import parameters_of
from groot_ros.core.config_reader import ConfigError
from groot_ros.core.share import robot_path, share_directory

if TYPE_CHECKING:
    from groot_ros.bridge.graph_probe import GraphProbe
    from groot_ros.checks import Context, Verdict
    from groot_ros.core.live_graph import LiveGraph, LiveNode

C = TypeVar("C")

_EXAMPLES = """examples:
  groot-ros doctor                                      # the running graph, and this machine
  groot-ros doctor --robot ~/my_arm.yaml                # drivers run, the nodes do not yet
  groot-ros doctor --robot ~/my_arm.yaml --checkpoint ~/checkpoints/pick
  groot-ros doctor --namespace left --json

Without --robot and --checkpoint, those of the running nodes are used. Exit status 0 if there is no
error (warnings are allowed), 1 for errors, 2 for wrong options. For the checks see
docs/reference/checks.md
"""
#: s for which messages are received.
_SECONDS = 3.0
#: Label of a result -> colour on a terminal.
_COLOURS = {"OK": "32", "WARN": "33", "ERROR": "31", "skipped": "2"}
_WIDTH = 8
#: Characters of a finding that are shown.
_LONGEST = 500


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros doctor`."""
    description = "Check machine, running graph, robot contract and checkpoint."
    parser = add_command(subparsers, "doctor", description, _EXAMPLES)
    add = parser.add_argument
    add("--robot", help="robot contract, a name or a file (default: that of the running nodes)")
    add("--checkpoint", metavar="DIR", help="checkpoint (default: that of the running policy)")
    add("--embodiment", metavar="TAG", help="embodiment (default: that of the running policy)")
    add("--namespace", default="", metavar="NS", help="namespace of the nodes (default: /)")
    add("--json", action="store_true", help="print facts and results as JSON")
    add(
        "--seconds",
        type=float,
        default=_SECONDS,
        metavar="N",
        help=f"how long to receive messages (default: {_SECONDS:g})",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print one line per check; return 1 if a check finds an error, else 0."""
    from groot_ros.checks import Severity, verdicts

    if not 0.0 < args.seconds <= 600.0:
        raise ValueError(f"--seconds must be above 0 and at most 600, not {args.seconds:g}")
    try:
        context = gather(args)
    except ConfigError as error:  # a malformed contract or checkpoint; others are wrong usage
        print(f"groot-ros doctor: {error}", file=sys.stderr)
        return 1
    results = verdicts(context)
    if args.json:
        print(json.dumps(as_json(context, results), indent=2))
    else:
        print("\n".join(report(context, results, colour=sys.stdout.isatty())))
    errors = [v for v in results if v.findings and v.check.severity is Severity.ERROR]
    return 1 if errors else 0


def gather(args: argparse.Namespace) -> "Context":
    """Return the facts of machine and graph, and what contract and checkpoint say.

    Raises:
        ValueError: robot or checkpoint cannot be read; one line.

    """
    from groot_ros.checks import Context
    from groot_ros.checks.machine_facts import PROFILE, read_machine

    require_namespace(args.namespace.strip("/"))
    before = os.environ.get(PROFILE)
    known = Context()
    if args.robot is not None:
        known = _with_robot(known, args.robot)
    rmw = problem = ""
    try:
        from groot_ros.bridge.graph_probe import GraphProbe
        from groot_ros.bridge.live_graph import rmw_implementation

        rmw = rmw_implementation()
    except ImportError as error:
        problem = str(error)
    known = replace(known, machine=read_machine(rmw=rmw, rclpy_error=problem))
    if problem:
        unknown = {"graph": f"ROS 2 is not there: {problem}"}
        return _with_checkpoint(replace(known, unknown=unknown), args, None)
    if before is None:
        # Without it the probe would lose images itself, and report a low rate.
        os.environ[PROFILE] = str(share_directory() / "config" / "fastdds.xml")
    try:
        probe = GraphProbe(absolute_namespace(args.namespace))
    except RuntimeError as error:  # of rcl, such as for a ROS_DOMAIN_ID that is not a number
        unknown = {"graph": f"no node can be created: {str(error).splitlines()[0]}"}
        return _with_checkpoint(replace(known, unknown=unknown), args, None)
    finally:
        if before is None:
            del os.environ[PROFILE]
    with probe:
        return _observe(probe, known, args)


def _observe(probe: "GraphProbe", known: "Context", args: argparse.Namespace) -> "Context":
    """Add what the graph says; the checkpoint is read while messages are received."""
    probe.discover()
    nodes = probe.nodes()
    if any(node.parameters.get("use_sim_time") for node in nodes.values()):
        probe.use_sim_time()
    known = _with_parameters(known, nodes)
    result = [known]

    def read_checkpoint() -> None:
        result[0] = _with_checkpoint(known, args, nodes.get("policy_node"))

    graph = probe.observe(known.robot, nodes, args.seconds, read_checkpoint)
    return replace(result[0], graph=graph)


def _with_parameters(known: "Context", nodes: "Mapping[str, LiveNode]") -> "Context":
    """Add the parameters of the running nodes, and their robot if none is known."""
    from groot_ros.control.settings import ExecutorConfig

    robots = []
    if (policy := nodes.get("policy_node")) is not None and policy.parameters:
        known = replace(known, policy=_config(PolicyConfig, policy.parameters))
        robots.append(policy.parameters.get("robot"))
    if (executor := nodes.get("executor_node")) is not None and executor.parameters:
        known = replace(known, executor=_config(ExecutorConfig, executor.parameters))
        robots.append(executor.parameters.get("robot"))
    given = next((str(robot) for robot in robots if robot), "")
    if known.robot is None and given:
        known = _with_robot(known, given)
    if known.robot is None:
        return known
    return replace(
        known,
        policy=known.policy or PolicyConfig(),
        executor=known.executor or ExecutorConfig(),
    )


def _config(config: Callable[..., C], values: Mapping[str, object]) -> C:
    """Return a configuration with the values of a node's parameters."""
    return config(
        **{
            p.field_name: p.parsed(values[p.name])
            for p in parameters_of(config)
            if p.name in values
        }
    )


def _with_robot(known: "Context", robot: str) -> "Context":
    from groot_ros.robot import load_contract

    file = robot_path(robot)
    return replace(known, robot=load_contract(file), robot_file=str(file))


def _with_checkpoint(
    known: "Context", args: argparse.Namespace, policy: "LiveNode | None"
) -> "Context":
    """Add what the checkpoint says, without its weights."""
    parameters: Mapping[str, Any] = {} if policy is None else policy.parameters
    checkpoint = args.checkpoint or str(parameters.get("checkpoint") or "")
    if not checkpoint:
        return known
    from groot_ros.checkpoint.locate import find_checkpoint
    from groot_ros.families.registry import find_family

    path = find_checkpoint(checkpoint)
    summary = find_family(path).describe(
        path,
        embodiment=args.embodiment or parameters.get("embodiment"),
        assets=parameters.get("backbone_assets") or None,
        base=parameters.get("base_checkpoint") or None,
    )
    usable = [each for each in summary.embodiments if each.spec is not None]
    if not usable:
        problems = [summary.problem, *(each.problem for each in summary.embodiments)]
        raise ValueError(f"{path}: {next((p for p in problems if p), 'has no embodiment')}")
    return replace(
        known,
        spec=usable[0].spec,
        weights=sum(group.nbytes for group in summary.weights),
        policy=known.policy or PolicyConfig(),
    )


def report(context: "Context", results: "Sequence[Verdict]", *, colour: bool) -> list[str]:
    """Return the lines to print: facts, one line per check with its remedies, and a summary."""
    lines = [*_facts(context), ""]
    counts = dict.fromkeys(_COLOURS, 0)
    for verdict in results:
        name = verdict.check.name
        label = label_of(verdict)
        counts[label] += 1
        if not verdict.findings:
            text = verdict.skipped or verdict.check.compares
            lines.append(f"{_label(label, colour)} {name}: {text}")
        for finding in verdict.findings:
            lines.append(f"{_label(label, colour)} {name}: {_printable(finding.text)}")
            lines.append(f"{' ' * _WIDTH} -> {_printable(finding.remedy)}")
    shown = (f"{count} {label}" for label, count in counts.items() if count)
    return [*lines, "", f"{pluralise(len(results), 'check')}: {', '.join(shown)}"]


def label_of(verdict: "Verdict") -> str:
    """Return OK, WARN, ERROR or skipped."""
    from groot_ros.checks import Severity

    if verdict.skipped:
        return "skipped"
    if not verdict.findings:
        return "OK"
    return "ERROR" if verdict.check.severity is Severity.ERROR else "WARN"


def _label(label: str, colour: bool) -> str:
    padded = f"{label:<{_WIDTH}}"
    return f"\033[{_COLOURS[label]}m{padded}\033[0m" if colour else padded


def _printable(text: str) -> str:
    """Return a text that may contain parts of messages, without control characters, cut if long."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:_LONGEST])
    return shown if len(text) <= _LONGEST else f"{shown}..."


def _facts(context: "Context") -> list[str]:
    machine, graph = context.machine, context.graph
    assert machine is not None
    distribution = machine.variables.get("ROS_DISTRO", "not set")
    versions = ", ".join(f"{name} {version}" for name, version in sorted(machine.packages.items()))
    gpus = ", ".join(gpu.name for gpu in machine.gpus) or "no NVIDIA GPU"
    lines = [
        f"ROS {distribution}, {machine.rmw or 'no RMW'}, domain {machine.domain}",
        f"{versions}; {gpus}",
    ]
    if graph is not None:
        nodes = ", ".join(f"{n.name} {n.state or '?'}" for n in graph.nodes.values()) or "no nodes"
        lines.append(f"namespace {graph.namespace}: {nodes}; observed for {graph.seconds:.1f} s")
        lines += _topics(graph)
    if context.robot is not None:
        lines.append(f"robot {context.robot.robot}: {context.robot_file}")
    return lines


def _topics(graph: "LiveGraph") -> list[str]:
    return [
        f"  {name}: {live.topic}, {live.rate:.1f} Hz, "
        f"{pluralise(len(live.publishers), 'publisher')}"
        for name, live in (
            *graph.cameras.items(),
            *((f"{view} labels", live) for view, live in graph.labels.items()),
            *graph.sources.items(),
        )
    ]


def as_json(context: "Context", results: "Sequence[Verdict]") -> dict[str, Any]:
    """Return facts and results; images are reduced to their form."""
    return {
        "machine": _plain(context.machine),
        "graph": _plain(context.graph),
        "robot": context.robot_file or None,
        "checks": [
            {
                "name": verdict.check.name,
                "result": label_of(verdict).lower(),
                "compares": verdict.check.compares,
                "skipped": verdict.skipped or None,
                "findings": [
                    {"text": finding.text, "remedy": finding.remedy} for finding in verdict.findings
                ],
            }
            for verdict in results
        ],
    }


def _plain(value: Any) -> Any:
    """Return dataclasses as dictionaries, without fields that are not shown."""
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.repr}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value
