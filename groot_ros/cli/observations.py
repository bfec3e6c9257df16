"""Observations for engines: from npz files, from a bag as the node would have seen it, or drawn."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from groot_ros.policy import Policy
    from groot_ros.types import Observation

#: Observations are this far apart in a bag, s, before some are chosen among them.
_SPACING = 0.2


def add_source_options(parser: argparse.ArgumentParser, count: int) -> None:
    """--observations, --bag, --instruction, --count, --image-size."""
    add = parser.add_argument
    add("--observations", type=Path, metavar="NPZ", help="npz file (one or a batch) or directory")
    add("--bag", type=Path, metavar="DIR", help="bag of a run; needs --robot")
    add("--instruction", help="instead of the file's or the bag's")
    add("--count", type=int, default=count, help=f"observations, evenly taken (default: {count})")
    add(
        "--image-size",
        type=size,
        nargs="+",
        metavar="HxW",
        default=[(480, 640)],
        help="of the cameras, one for all or one a view (default: 480x640)",
    )


def size(text: str) -> tuple[int, int]:
    """As "480x640", to (height, width)."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"'{text}' is not HEIGHTxWIDTH, such as 480x640")
    return int(parts[0]), int(parts[1])


def gather(args: argparse.Namespace, policy: "Policy") -> tuple[list["Observation"], str]:
    """Observations and, in words, where they come from; ValueError where there are none."""
    if args.count < 1:
        raise ValueError(f"--count must be at least 1, not {args.count}")
    if args.observations is not None and args.bag is not None:
        raise ValueError("--observations and --bag exclude each other: give one")
    if args.bag is not None:
        return evenly(from_bag(args.bag, policy, args.instruction), args.count), str(args.bag)
    if args.observations is not None:
        from groot_ros.processing.observation_file import read_observations

        found = read_observations(args.observations, instruction=args.instruction)
        return evenly(found, args.count), str(args.observations)
    from groot_ros.export.observations import synthetic

    return synthetic(policy, args.count, size=args.image_size[0]), "drawn within the statistics"


def evenly(observations: list["Observation"], count: int) -> list["Observation"]:
    """`count` of them, evenly spaced; all where there are fewer."""
    indexes = sorted({round(i) for i in np.linspace(0, len(observations) - 1, count)})
    return [observations[i] for i in indexes]


def from_bag(bag: Path, policy: "Policy", instruction: str | None) -> list["Observation"]:
    """What the policy node would have observed, every `_SPACING` s.

    Raises:
        ValueError: the policy has no robot contract, or the bag holds no observation; says why.

    """
    from groot_ros.bridge.observation_buffer import ObservationBuffer
    from groot_ros.bridge.refusals import Refused
    from groot_ros.bridge.wanted import Tolerances, Wanted
    from groot_ros.evaluation.run_log import open_bag
    from groot_ros.types import MalformedError, s_to_ns

    if policy.robot is None:
        raise ValueError("--bag needs --robot: the contract says which topics are which")
    wanted = Wanted(
        tuple(policy.views),
        tuple(policy.state_groups),
        policy.history["video"],
        policy.history["state"],
    )
    buffer = ObservationBuffer(policy.robot, wanted, Tolerances())
    said, due, why = instruction or "", 0, "it is empty"
    found = []
    with open_bag(bag) as (reader, types):
        for connection, received, raw in reader.messages():
            topic = connection.topic.lstrip("/")
            take = _taker(buffer, topic)
            if take is None and not topic.endswith("instruction"):
                continue
            message: Any = types.deserialize_cdr(raw, connection.msgtype)
            try:
                if take is None:
                    said = said if instruction else message.data
                    continue
                take(message, received)
                if received >= due:
                    found.append(buffer.snapshot(received, said))
                    due = received + s_to_ns(_SPACING)
            except (Refused, MalformedError) as refusal:
                why = f"last refusal: {refusal.reason}, {refusal.detail}"
    if not found:
        raise ValueError(f"{bag}: holds no whole observation ({why})")
    return found


def _taker(buffer: Any, topic: str) -> Any:
    """What puts a message of this topic into the buffer; None for other topics."""
    from groot_ros.imaging.images import compressed_to_rgb, image_to_rgb

    def header_ns(message: Any) -> int:
        stamp = message.header.stamp
        return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)

    for view, camera in buffer.cameras.items():
        if topic.endswith(camera.topic.lstrip("/")):
            to_rgb = compressed_to_rgb if camera.compressed else image_to_rgb
            return lambda message, received: buffer.add_image(
                view, header_ns(message), received, partial(to_rgb, message)
            )
    for source in buffer.sources:
        if topic.endswith(source.topic.lstrip("/")):
            return lambda message, received: buffer.add_joint_state(
                source.topic, header_ns(message), received, message.name, message.position
            )
    return None
