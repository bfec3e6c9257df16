"""Observations for engines: from npz files, from a bag as the node would have seen it, or drawn."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from groot_ros.cli.bag_observations import from_bag
from groot_ros.cli.stream_subsampler import StreamSubsampler, evenly_spaced
from groot_ros.core import Observation

if TYPE_CHECKING:
    from groot_ros.policy import Policy


def add_source_options(parser: argparse.ArgumentParser, count: int) -> None:
    """--observations, --bag, --namespace, --instruction, --count, --image-size."""
    add = parser.add_argument
    add("--observations", type=Path, metavar="NPZ", help="npz file (one or a batch) or directory")
    add("--bag", type=Path, metavar="DIR", help="bag of a run; needs --robot")
    add("--namespace", help="of the robot in the bag (default: the only one in it)")
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


def require_source(args: argparse.Namespace) -> None:
    """The options must name one source that is there; ValueError before anything takes long."""
    if args.count < 1:
        raise ValueError(f"--count must be at least 1, not {args.count}")
    if args.observations is not None and args.bag is not None:
        raise ValueError("--observations and --bag exclude each other: give one")
    if args.bag is not None and args.robot is None:
        raise ValueError("--bag needs --robot: the contract says which topics are which")
    if args.bag is not None and not args.bag.exists():
        raise ValueError(f"--bag {args.bag} is not a bag: no such directory")
    if args.observations is not None and not args.observations.exists():
        raise ValueError(f"--observations {args.observations}: no such file or directory")


def gather(args: argparse.Namespace, policy: "Policy") -> tuple[list[Observation], str]:
    """Observations and, in words, where they come from; ValueError where there are none."""
    from groot_ros.export.observations import synthetic
    from groot_ros.runtime.profile import sizes_by_view

    sizes = sizes_by_view(policy.views, args.image_size)
    if args.bag is not None:
        spread: StreamSubsampler[Observation] = StreamSubsampler(args.count)
        for observation in from_bag(args.bag, policy, args.instruction, args.namespace):
            spread.add(observation)
        return spread.chosen(), str(args.bag)
    if args.observations is not None:
        from groot_ros.processing.observation_file import read_observations

        found = read_observations(args.observations, instruction=args.instruction)
        return evenly_spaced(found, args.count), str(args.observations)
    return synthetic(policy, args.count, size=sizes), "states within the statistics, drawn images"
