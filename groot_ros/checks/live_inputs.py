# SPDX-License-Identifier: Apache-2.0
"""Checks of the robot contract's inputs against live topics: cameras, labels, joint states."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from groot_ros.checks.check import Check, NotApplicable, Problem, Severity
from groot_ros.checks.input_rates import used_cameras
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import MalformedError, PolicyConfig, other_clock_hint
from groot_ros.core.live_graph import LiveGraph, LiveInput, suggestion
from groot_ros.families.family import PolicySpec
from groot_ros.observation.image_buffer import MIN_SIDE
from groot_ros.robot import Camera, JointStateSource, RobotContract
from groot_ros.vision.compressed import check_compressed, check_compression
from groot_ros.vision.encodings import check_encoding, check_image

#: Shares of the contract's rate below and above which a measured rate is reported.
_SLOW, _FAST = 0.8, 1.5


@dataclass(frozen=True)
class Input:
    """One input of the contract that is used, with what was observed of it.

    Attributes:
        key: key of the contract.
        declared: its entry of the contract; for labels, their camera.
        live: what was observed.

    """

    key: str
    declared: Camera | JointStateSource
    live: LiveInput

    def __str__(self) -> str:
        return f"{self.key} ({self.live.topic})"


def _cameras(
    spec: PolicySpec | None, robot: RobotContract, graph: LiveGraph
) -> Iterator[tuple[Input, Camera]]:
    for camera in robot.cameras.values() if spec is None else used_cameras(spec, robot):
        live = graph.cameras.get(camera.name)
        if live is not None:
            yield Input(f"cameras.{camera.name}", camera, live), camera


def used_labels(
    spec: PolicySpec | None, robot: RobotContract, graph: LiveGraph
) -> Iterator[tuple[Input, Camera]]:
    """Yield the labels that the checkpoint needs, each with its camera, whose rate they have."""
    if spec is None or spec.labels:
        for _, camera in _cameras(spec, robot, graph):
            live = graph.labels.get(camera.name)
            if live is not None:
                yield Input(f"cameras.{camera.name}.labels", camera, live), camera


def _sources(robot: RobotContract, graph: LiveGraph) -> Iterator[tuple[Input, JointStateSource]]:
    for source in robot.sources:
        live = graph.sources.get(source.name)
        if live is not None:
            yield Input(f"inputs.sources.{source.name}", source, live), source


def _inputs(spec: PolicySpec | None, robot: RobotContract, graph: LiveGraph) -> list[Input]:
    cameras = [own for own, _ in _cameras(spec, robot, graph)]
    labels = [own for own, _ in used_labels(spec, robot, graph)]
    return [*cameras, *labels, *(own for own, _ in _sources(robot, graph))]


def require_received(inputs: list[Input]) -> list[Input]:
    """Return the inputs with a message; NotApplicable if there is none."""
    found = [own for own in inputs if own.live.received]
    if not found:
        raise NotApplicable("no message was received")
    return found


def _publishers(
    spec: PolicySpec | None, robot: RobotContract, graph: LiveGraph
) -> Iterator[Problem]:
    for own in _inputs(spec, robot, graph):
        if not own.live.publishers:
            similar = own.live.similar
            yield Problem(
                str(own),
                f"has no publisher{suggestion(similar, own.live.message)}",
                f"set 'topic: {similar[0]}' in the robot contract, or remap the driver"
                if similar
                else "",
            )


def _types(spec: PolicySpec | None, robot: RobotContract, graph: LiveGraph) -> Iterator[Problem]:
    for own in _inputs(spec, robot, graph):
        wrong = sorted(set(own.live.types) - {own.live.message})
        if wrong:
            yield Problem(
                str(own), f"has publishers of {', '.join(wrong)}, expected {own.live.message}"
            )


def _silent(spec: PolicySpec | None, robot: RobotContract, graph: LiveGraph) -> Iterator[Problem]:
    inputs = [own for own in _inputs(spec, robot, graph) if own.live.publishers]
    if not inputs:
        raise NotApplicable("no input has a publisher")
    for own in inputs:
        if not own.live.received and own.live.message in own.live.types:
            yield Problem(
                str(own),
                f"sent no message in {graph.seconds:.1f} s, although "
                f"{', '.join(own.live.publishers)} publishes on it",
            )


def _competing(
    spec: PolicySpec | None, robot: RobotContract, graph: LiveGraph
) -> Iterator[Problem]:
    """Find several publishers of a camera, and of joint states if they send the same joints."""
    for own in _inputs(spec, robot, graph):
        several = len(own.live.publishers) > 1 and isinstance(own.declared, Camera)
        if several or own.live.conflict:
            yield Problem(
                str(own),
                f"has {len(own.live.publishers)} publishers ({' and '.join(own.live.publishers)})"
                + (": their messages alternate, the nodes reject them" * bool(own.live.conflict)),
            )


def _rate(spec: PolicySpec | None, robot: RobotContract, graph: LiveGraph) -> Iterator[Problem]:
    for own in require_received(_inputs(spec, robot, graph)):
        live, stated = own.live.rate, own.declared.rate
        if not live or not stated or _SLOW * stated <= live <= _FAST * stated:
            continue
        yield Problem(
            str(own),
            f"has {live:.1f} Hz, the robot contract states {stated:g} Hz",
            "a second publisher, or another setting of the driver: correct it, or 'rate'"
            if live > stated
            else "",
        )


def _encoding(spec: PolicySpec | None, robot: RobotContract, graph: LiveGraph) -> Iterator[Problem]:
    cameras = list(_cameras(spec, robot, graph))
    require_received([own for own, _ in cameras])
    for own, camera in cameras:
        for form in own.live.forms:
            try:
                if camera.compressed:
                    check_compressed(form)
                    check_compression(form, camera.encoding)
                else:
                    check_image(form, camera.encoding)
                    check_encoding(form, camera.encoding)
            except MalformedError as error:
                yield Problem(str(own), error.detail, f"the policy rejects it ({error.reason})")
                break


def _size(spec: PolicySpec | None, robot: RobotContract, graph: LiveGraph) -> Iterator[Problem]:
    cameras = [own for own, camera in _cameras(spec, robot, graph) if not camera.compressed]
    if not cameras:
        raise NotApplicable("the size of compressed images is not examined")
    for own in require_received(cameras):
        sizes = sorted({(form.width, form.height) for form in own.live.forms})
        shown = ", ".join(f"{width} x {height}" for width, height in sizes)
        if len(sizes) > 1:
            yield Problem(str(own), f"changes its size: {shown} (image_size_changed)")
        elif min(sizes[0]) < MIN_SIDE:
            yield Problem(
                str(own), f"has {shown} pixels, at least {MIN_SIDE} x {MIN_SIDE} are needed"
            )


def _stamps(
    spec: PolicySpec | None,
    robot: RobotContract,
    graph: LiveGraph,
    policy: PolicyConfig | None,
    executor: ExecutorConfig | None,
) -> Iterator[Problem]:
    policy, executor = policy or PolicyConfig(), executor or ExecutorConfig()
    inputs = [own for own in _inputs(spec, robot, graph) if own.declared.stamp == "header"]
    for own in require_received(inputs):
        camera = isinstance(own.declared, Camera)
        limit = policy.max_image_age if camera else executor.joint_state_timeout
        future = policy.max_future if camera else executor.max_future
        age = own.live.age
        if own.live.unstamped:
            yield Problem(
                str(own), "has messages without a stamp", f"set '{own.key}.stamp: arrival'"
            )
        elif age < -future:
            yield Problem(str(own), f"is stamped {-age:.3f} s ahead{other_clock_hint(age)}")
        elif age > limit:
            name = "max_image_age" if camera else "joint_state_timeout"
            yield Problem(
                str(own),
                f"is at least {age:.3f} s old on arrival, {name} is {limit:g} s"
                f"{other_clock_hint(age)}",
            )


def _joint_names(robot: RobotContract, graph: LiveGraph) -> Iterator[Problem]:
    sources = [own for own, _ in _sources(robot, graph)]
    for own in require_received(sources):
        assert isinstance(own.declared, JointStateSource)
        missing = [j for j in own.declared.joints if j not in own.live.positions]
        others = sorted(own.live.positions.keys() - robot.joints.keys())
        if missing:
            yield Problem(
                str(own),
                f"does not have {', '.join(missing)}"
                + (f"; it has {', '.join(others[:8])}" if others else ""),
            )


_ERROR, _WARNING = Severity.ERROR, Severity.WARNING
_NEEDS = ("spec?", "robot", "graph")


def _check(
    name: str,
    severity: Severity,
    compares: str,
    remedy: str,
    find: Callable[..., Iterator[Problem]],
    needs: tuple[str, ...] = _NEEDS,
) -> Check:
    return Check(name, severity, "graph", compares, remedy, needs, find)


CHECKS = (
    _check(
        "input_publishers",
        _ERROR,
        "the inputs of the contract with the topics that have a publisher",
        "start the driver, or correct 'topic' in the robot contract",
        _publishers,
    ),
    _check(
        "input_types",
        _ERROR,
        "the types of the inputs with those of their publishers",
        "correct 'topic', or 'encoding' (jpeg and png are sensor_msgs/CompressedImage)",
        _types,
    ),
    _check(
        "input_silent",
        _ERROR,
        "the publishers of the inputs with what they send",
        "see the log of the driver",
        _silent,
    ),
    _check(
        "competing_publishers",
        _WARNING,
        "the number of publishers of an input with one",
        "stop all but one",
        _competing,
    ),
    _check(
        "input_rate",
        _WARNING,
        "the rates of the contract with live ones",
        "messages are lost (docs/how-to/cameras.md), the driver is set to another rate, or 'rate' "
        "in the robot contract is wrong",
        _rate,
    ),
    _check(
        "image_encoding",
        _ERROR,
        "the encodings of the contract with live images",
        "set the driver or 'encoding'",
        _encoding,
    ),
    _check(
        "image_size",
        _ERROR,
        "the sizes of live images with each other and with the smallest one",
        "set a fixed resolution in the driver",
        _size,
    ),
    _check(
        "input_stamps",
        _ERROR,
        "the stamps of live messages with the clock",
        "synchronise the clocks (chrony), correct 'latency', or set 'stamp: arrival'",
        _stamps,
        (*_NEEDS, "policy?", "executor?"),
    ),
    _check(
        "joint_names",
        _ERROR,
        "the joints of the contract with those in live joint states",
        "correct the names under 'joints' of the robot contract, or the source of the joint",
        _joint_names,
        ("robot", "graph"),
    ),
)
