# SPDX-License-Identifier: Apache-2.0
"""Observations for the engine commands: from npz files, from a bag, or synthetic."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from groot_ros.core import Observation, s_to_ns
from groot_ros.observation.spec import ObservationSpec, SyncTolerances

if TYPE_CHECKING:
    from groot_ros.policy import Policy

T = TypeVar("T")

#: s between two observations from a bag.
_BAG_INTERVAL = 0.2


def add_source_options(parser: argparse.ArgumentParser, count: int) -> None:
    """Add --observations, --bag, --namespace, --instruction, --count and --image-size."""
    add = parser.add_argument
    add(
        "--observations",
        type=Path,
        metavar="NPZ",
        help="npz file (one observation or a batch), or a directory of them",
    )
    add("--bag", type=Path, metavar="DIR", help="bag of a run; requires --robot")
    add("--namespace", help="namespace of the robot in the bag (default: the only one there)")
    add("--instruction", help="replaces the instruction of the file or bag")
    add(
        "--count",
        type=int,
        default=count,
        help=f"number of observations, evenly spaced (default: {count})",
    )
    add(
        "--image-size",
        type=image_size,
        nargs="+",
        metavar="HxW",
        default=[(480, 640)],
        help="size of synthetic images, one for all views or one per view (default: 480x640)",
    )


def image_size(text: str) -> tuple[int, int]:
    """Parse "480x640" to (height, width)."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"'{text}' is not HEIGHTxWIDTH, such as 480x640")
    return int(parts[0]), int(parts[1])


def require_source(args: argparse.Namespace) -> None:
    """Check the options before anything slow is started.

    Raises:
        ValueError: more than one source, or a source that does not exist.

    """
    if args.count < 1:
        raise ValueError(f"--count must be at least 1, not {args.count}")
    if args.observations is not None and args.bag is not None:
        raise ValueError("give either --observations or --bag, not both")
    if args.bag is not None and args.robot is None:
        raise ValueError("--bag requires --robot: the robot contract names the topics")
    if args.bag is not None and not args.bag.exists():
        raise ValueError(f"--bag {args.bag}: no such directory")
    if args.observations is not None and not args.observations.exists():
        raise ValueError(f"--observations {args.observations}: no such file or directory")


def gather(args: argparse.Namespace, policy: "Policy") -> tuple[list[Observation], str]:
    """Return the observations and a description of their source.

    Raises:
        ValueError: the source has no observation, or --image-size does not fit the views.

    """
    from groot_ros.export.reference_cases import synthetic_observations

    sizes = sizes_by_view(policy.spec.views, args.image_size)
    if args.bag is not None:
        sampler: StreamSubsampler[Observation] = StreamSubsampler(args.count)
        for observation in from_bag(args.bag, policy, args.instruction, args.namespace):
            sampler.add_item(observation)
        return sampler.samples(), str(args.bag)
    if args.observations is not None:
        from groot_ros.processing.observation_file import read_observations

        found = read_observations(args.observations, instruction=args.instruction)
        return evenly_spaced(found, args.count), str(args.observations)
    source = "synthetic: states within the statistics, random images"
    return synthetic_observations(policy, args.count, size=sizes), source


def sizes_by_view(
    views: Sequence[str], image_sizes: Sequence[tuple[int, int]]
) -> dict[str, tuple[int, int]]:
    """Return view -> (height, width), from one size for all views or one per view.

    Raises:
        ValueError: there is neither one size nor one per view.

    """
    if len(image_sizes) not in (1, len(views)):
        raise ValueError(
            f"--image-size: give one, or one for each of {', '.join(views)}, not {len(image_sizes)}"
        )
    several = list(image_sizes) * (len(views) if len(image_sizes) == 1 else 1)
    return dict(zip(views, several, strict=True))


def evenly_spaced(items: Sequence[T], count: int) -> list[T]:
    """Return `count` items from the first to the last; all items if there are fewer."""
    return [items[i] for i in sorted({round(i) for i in np.linspace(0, len(items) - 1, count)})]


class StreamSubsampler(Generic[T]):
    """Evenly spaced samples of a stream of unknown length, in bounded memory.

    Keeps at most twice as many items as requested; when there are more, it drops every second one.
    The kept items are therefore always equally spaced, except for the newest.
    """

    def __init__(self, count: int) -> None:
        self._count, self._stride, self._received = count, 1, 0
        self._kept: list[T] = []
        self._newest: list[T] = []

    @property
    def held(self) -> int:
        """Return the number of items in memory."""
        return len(self._kept) + len(self._newest)

    def add_item(self, item: T) -> None:
        """Process the next item of the stream."""
        self._newest = [item]
        if self._received % self._stride == 0:
            self._kept.append(item)
            self._newest = []
            if len(self._kept) > 2 * self._count:
                del self._kept[1::2]
                self._stride *= 2
        self._received += 1

    def samples(self) -> list[T]:
        """Return `count` evenly spaced items, first and newest included; all if there are fewer."""
        return evenly_spaced([*self._kept, *self._newest], self._count)


def observation_at(
    bag: Path,
    policy: "Policy",
    at: float,
    *,
    instruction: str | None = None,
    namespace: str | None = None,
) -> Observation:
    """Return the first observation of a bag from `at` s after its start on; raises as from_bag."""
    from groot_ros.bags.contents import read_contents

    contents = read_contents(bag)
    for observation in from_bag(bag, policy, instruction, namespace):
        if observation.stamp_ns >= contents.start_ns + s_to_ns(at):
            return observation
    raise ValueError(
        f"{bag}: no observation at {at:g} s or later; it lasts {contents.duration:.1f} s"
    )


def from_bag(
    bag: Path, policy: "Policy", instruction: str | None = None, namespace: str | None = None
) -> Iterator[Observation]:
    """Yield the observations that the policy node would have made, every `_BAG_INTERVAL` s.

    Args:
        bag: directory of a bag.
        policy: with a robot contract, which names the topics.
        instruction: replaces the instruction of the bag.
        namespace: of the robot; None if the bag has only one.

    Raises:
        ValueError: the policy has no robot contract, the bag lacks a topic, or it gives no complete
            observation; the message has the reason.

    """
    from groot_ros.bags.recording import RobotBag
    from groot_ros.evaluation.bag_observations import observe

    if policy.robot is None:
        raise ValueError("--bag requires --robot: the robot contract names the topics")
    spec = ObservationSpec.of_policy(policy.spec)
    opened = RobotBag(bag, policy.robot, views=spec.views, groups=spec.groups, namespace=namespace)
    found, reason = 0, ""
    for place in observe(
        opened,
        spec,
        SyncTolerances(),
        interval=_BAG_INTERVAL,
        instruction=instruction,
    ):
        if place.observation is None:
            reason = f"last rejection: {place.reason}, {place.detail}"
        else:
            found += 1
            yield place.observation
    if not found:
        raise ValueError(f"{bag}: no complete observation ({reason})")
