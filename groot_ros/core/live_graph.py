# SPDX-License-Identifier: Apache-2.0
"""Facts of a running ROS graph, as `groot-ros doctor` gathers and judges them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: Number of topics that are suggested.
_SUGGESTIONS = 2


@dataclass
class ImageForm:
    """Form of an image message without its pixels; has the fields that `vision` checks.

    Attributes:
        encoding: "" for a compressed image.
        format: of a compressed image, else "".
        step: bytes per row; 0 for a compressed image.
        data: for an image a range of its length in bytes, for a compressed one its bytes.

    """

    width: int = 0
    height: int = 0
    encoding: str = ""
    format: str = ""
    step: int = 0
    is_bigendian: int = 0
    data: Sequence[int] = field(default=b"", repr=False)


@dataclass(frozen=True)
class LiveInput:
    """Messages of one input topic of the robot contract during the measurement.

    Attributes:
        topic: full name.
        message: expected type, such as "sensor_msgs/msg/Image".
        publishers: full names of the nodes that publish on it, one for each publisher.
        types: types of the publishers.
        similar: other topics with a publisher of the expected type.
        received: messages received.
        rate: messages per second that were published, Hz; 0 if fewer than two were received.
        age: smallest age of a stamp on arrival, s, with the latency that the contract states;
            negative if the stamp is ahead of the clock.
        unstamped: whether a message had the stamp 0.
        conflict: evidence that two live publishers send the same data, "" without.
        forms: different forms of the images.
        positions: joint -> smallest and largest position, rad or m.
        with_image: of labels, the messages whose stamp an image of their camera had.

    """

    topic: str
    message: str
    publishers: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    similar: tuple[str, ...] = ()
    received: int = 0
    rate: float = 0.0
    age: float = 0.0
    unstamped: bool = False
    conflict: str = ""
    forms: tuple[ImageForm, ...] = ()
    positions: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    with_image: int = 0


@dataclass(frozen=True)
class LiveController:
    """Receivers of the commands of one controller.

    Attributes:
        topic: full name of its command topic or action.
        message: expected type; "" for an action.
        receivers: subscribers of the topic, or servers of the action.
        types: types of the subscribers.
        similar: other topics with a subscriber of the expected type, or other actions.

    """

    topic: str
    message: str = ""
    receivers: int = 0
    types: tuple[str, ...] = ()
    similar: tuple[str, ...] = ()


@dataclass(frozen=True)
class LiveNode:
    """One of this package's nodes.

    Attributes:
        name: full name.
        count: nodes of this name.
        state: lifecycle state, such as "active"; "" if it did not answer.
        parameters: name -> value of those that were read.

    """

    name: str
    count: int = 1
    state: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class LiveGraph:
    """Everything that was observed in one namespace.

    Attributes:
        namespace: "/" or "/left".
        seconds: duration of the measurement.
        nodes: "policy_node" and "executor_node" that run -> what is known of them.
        elsewhere: full names of these nodes in other namespaces.
        cameras: view -> its topic.
        labels: view -> the topic of its labels; only those of the contract.
        sources: source of joint states -> its topic.
        controllers: name -> its receivers.
        clock_publishers: publishers of /clock.
        latched_stop: reason of the executor's stop that only ~/resume ends; "" without one.

    """

    namespace: str = "/"
    seconds: float = 0.0
    nodes: Mapping[str, LiveNode] = field(default_factory=dict)
    elsewhere: tuple[str, ...] = ()
    cameras: Mapping[str, LiveInput] = field(default_factory=dict)
    labels: Mapping[str, LiveInput] = field(default_factory=dict)
    sources: Mapping[str, LiveInput] = field(default_factory=dict)
    controllers: Mapping[str, LiveController] = field(default_factory=dict)
    clock_publishers: int = 0
    latched_stop: str = ""


def similar_topics(
    topic: str, candidates: Mapping[str, Sequence[str]], message: str
) -> tuple[str, ...]:
    """Return the other topics that carry a type, those with the most common parts first.

    Args:
        topic: full name of the topic that is not there.
        candidates: full name -> types, of the topics that come into question.
        message: the type.

    """
    parts = set(topic.split("/"))
    found = [name for name, types in candidates.items() if message in types and name != topic]
    return tuple(sorted(found, key=lambda name: (-len(parts & set(name.split("/"))), name)))


def suggestion(similar: Sequence[str], message: str) -> str:
    """Return ", did you mean TOPIC (TYPE)" for the best ones of similar_topics(); "" for none."""
    kind = f" ({message.replace('/msg/', '/')})" if message else ""
    shown = " or ".join(similar[:_SUGGESTIONS])
    return f", did you mean {shown}{kind}?" if similar else ""
