"""Observations out of a recorded run, as the policy node would have made them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ros.core import NS_PER_S, MalformedError, Observation, s_to_ns

if TYPE_CHECKING:
    from groot_ros.observation.buffer import ObservationBuffer
    from groot_ros.policy import Policy

#: Observations are this far apart, s.
_SPACING = 0.2


def from_bag(
    bag: Path, policy: "Policy", instruction: str | None = None, namespace: str | None = None
) -> Iterator[Observation]:
    """What the policy node would have observed, every `_SPACING` s.

    Args:
        bag: directory with metadata.yaml.
        policy: with a robot contract, which says which topics are which.
        instruction: instead of the bag's own.
        namespace: of the robot; None where the bag holds only one.

    Raises:
        ValueError: the policy has no robot contract, a topic is not in the bag, or the bag holds
            no observation; says why.

    """
    from groot_ros.evaluation.run_log import open_bag
    from groot_ros.observation.buffer import ObservationBuffer
    from groot_ros.observation.rejections import Rejected
    from groot_ros.observation.spec import ObservationSpec, SyncTolerances

    if policy.robot is None:
        raise ValueError("--bag needs --robot: the contract says which topics are which")
    wanted = ObservationSpec(
        tuple(policy.views),
        tuple(policy.state_groups),
        policy.history["video"],
        policy.history["state"],
    )
    buffer = ObservationBuffer(policy.robot, wanted, SyncTolerances())
    takers = _takers(buffer)
    said, due, found, why = instruction or "", 0, 0, "it is empty"
    with open_bag(bag) as (reader, types):
        recorded = {under("", connection.topic) for connection in reader.connections}
        try:
            own = robot_namespace(takers, recorded, namespace)
        except ValueError as error:
            raise ValueError(f"{bag}: {error}") from error
        take_of = {under(own, topic): take for topic, take in takers.items()}
        for connection, received, raw in reader.messages():
            topic = under("", connection.topic)
            if topic not in (*take_of, under(own, "instruction")):
                continue
            message: Any = types.deserialize_cdr(raw, connection.msgtype)
            if topic not in take_of:
                said = instruction or message.data
                continue
            try:
                take_of[topic](message, received)
                if received < due:
                    continue
                observation = buffer.snapshot(received, said)
            except (Rejected, MalformedError) as rejection:
                why = f"last rejection: {rejection.reason}, {rejection.detail}"
                continue
            found, due = found + 1, received + s_to_ns(_SPACING)
            yield observation
    if not found:
        raise ValueError(f"{bag}: holds no whole observation ({why})")


def under(namespace: str, topic: str) -> str:
    """The topic's full name, as a node in this namespace resolves it."""
    parts = (topic,) if topic.startswith("/") else (namespace, topic)
    return "/" + "/".join(part.strip("/") for part in parts if part.strip("/"))


def robot_namespace(topics: Iterable[str], recorded: Collection[str], given: str | None) -> str:
    """The namespace under which a robot's topics were recorded.

    Args:
        topics: as in its contract.
        recorded: full names.
        given: the one asked for; None where only one can be meant.

    Raises:
        ValueError: a topic is missing, or several robots were recorded.

    """
    topics = list(topics)
    fitting = [given] if given is not None else _namespaces(topics, recorded)
    if len(fitting) > 1:
        names = ", ".join(name or "/" for name in fitting)
        raise ValueError(f"holds several such robots: choose one of {names} with --namespace")
    own = fitting[0] if fitting else ""
    missing = [under(own, topic) for topic in topics if under(own, topic) not in recorded]
    if missing:
        there = ", ".join(sorted(recorded)) or "nothing"
        raise ValueError(f"holds no topic {', '.join(missing)}; recorded were {there}")
    return own


def _namespaces(topics: Sequence[str], recorded: Collection[str]) -> list[str]:
    """All under which every topic was recorded."""
    ends = [f"/{topic}" for topic in topics if not topic.startswith("/")][:1]
    found = {name.removesuffix(end) for end in ends for name in recorded if name.endswith(end)}
    return sorted(own for own in found if all(under(own, topic) in recorded for topic in topics))


def _takers(buffer: "ObservationBuffer") -> dict[str, Callable[[Any, int], None]]:
    """The contract's topic -> what puts a message of it, and when it came, into the buffer."""
    from groot_ros.vision.encodings import compressed_to_rgb, image_to_rgb

    def header_ns(message: Any) -> int:
        stamp = message.header.stamp
        return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)

    def of_camera(view: str, to_rgb: Callable[[Any], Any], message: Any, received: int) -> None:
        buffer.add_frame(view, header_ns(message), received, partial(to_rgb, message))

    def of_joints(topic: str, message: Any, received: int) -> None:
        buffer.add_joint_state(topic, header_ns(message), received, message.name, message.position)

    takers: dict[str, Callable[[Any, int], None]] = {
        source.topic: partial(of_joints, source.topic) for source in buffer.sources
    }
    for view, camera in buffer.cameras.items():
        to_rgb = compressed_to_rgb if camera.compressed else image_to_rgb
        takers[camera.topic] = partial(of_camera, view, to_rgb)
    return takers
