# SPDX-License-Identifier: Apache-2.0
"""`groot-ros dataset`: make training data from bags, check it, merge and split it."""

import argparse
import importlib.util
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from groot_ros.cli import add_actions, add_command, add_parallel_options, pluralise, without_reports

if TYPE_CHECKING:
    from groot_ros.datasets.from_bags import Conversion

_EXAMPLES = """examples:
  groot-ros dataset from-bags ~/bags/run* ~/data/cubes
  groot-ros dataset from-bags ~/bags/run* ~/data/good --outcome success
  groot-ros dataset from-bags ~/bags/teleop* ~/data/teleop --leader leader/joint_states
  groot-ros dataset from-bags ~/bags/run* ~/data/cubes_v3 --format v3.0 --dask tcp://host:8786
  groot-ros dataset check ~/data/cubes
  groot-ros dataset merge ~/data/monday ~/data/tuesday ~/data/both
  groot-ros dataset split ~/data/both ~/data/train ~/data/held_out --share 0.9
  groot-ros dataset to-bag ~/data/cubes ~/bags/from_data --episodes 0-4

The data sets are LeRobot v2.1 with the files that GR00T trains on, or v3.0 for LeRobot.
"""
_FORMATS = ("v2.1", "v3.0")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros dataset`."""
    parser = add_command(
        subparsers, "dataset", "Convert bags to data sets; check, merge and split them.", _EXAMPLES
    )
    actions = add_actions(parser)
    _add_from_bags(actions)
    to_bag = actions.add_parser("to-bag", help="write episodes as bags, one directory each")
    to_bag.add_argument("dataset", type=Path, help="data set of LeRobot v2.1")
    to_bag.add_argument("out", type=Path, help="folder for the bags episode_000000, ...")
    to_bag.add_argument("--episodes", help="such as 0-9,12 (default: all)")
    to_bag.add_argument("--robot", help="robot contract (default: the one in the data set)")
    add_parallel_options(to_bag)
    to_bag.set_defaults(run=run_to_bag)
    check = actions.add_parser("check", help="find what would harm a training run")
    check.add_argument("dataset", type=Path, help="data set of LeRobot v2.1")
    check.add_argument("--horizon", type=int, default=16, help="steps of a chunk (default: 16)")
    add_parallel_options(check)
    check.set_defaults(run=run_check)
    merge = actions.add_parser("merge", help="copy the episodes of data sets into a new one")
    merge.add_argument("datasets", type=Path, nargs="+", help="data sets of LeRobot v2.1")
    merge.add_argument("out", type=Path, help="folder of the new one; must not exist yet")
    _add_format(merge)
    merge.set_defaults(run=run_merge)
    split = actions.add_parser(
        "split", help="copy some episodes into one data set, the others into another"
    )
    split.add_argument("dataset", type=Path, help="data set of LeRobot v2.1")
    split.add_argument("first", type=Path, help="folder for the chosen episodes")
    split.add_argument("second", type=Path, help="folder for the others")
    which = split.add_mutually_exclusive_group(required=True)
    which.add_argument("--episodes", help="chosen episodes, such as 0-9,12")
    which.add_argument("--share", type=float, help="share that is chosen at random, such as 0.9")
    split.add_argument("--seed", type=int, default=0, help="of the random choice (default: 0)")
    _add_format(split)
    split.set_defaults(run=run_split)


def _add_from_bags(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser(
        "from-bags",
        help="convert bags, one or more episodes each",
        description="Convert bags to a data set. What is left out of a bag is printed.",
    )
    parser.add_argument("bags", type=Path, nargs="+", help="directories of bags, or files")
    parser.add_argument("out", type=Path, help="folder of the data set; must not exist yet")
    _add_format(parser)
    parser.add_argument("--robot", help="robot contract (default: the one in each bag)")
    parser.add_argument(
        "--fps", type=int, default=0, help="rows per second (default: 1 / action_dt)"
    )
    parser.add_argument(
        "--action",
        choices=("commands", "from-state"),
        default="commands",
        help="active commands (default), or the state of the next row, which learns a weak grip",
    )
    parser.add_argument("--leader", metavar="TOPIC", help="joint states of a leader arm: commands")
    parser.add_argument("--task", default="", help="instruction of all rows (default: as recorded)")
    parser.add_argument(
        "--horizon",
        type=int,
        default=16,
        help="steps of a chunk: rest kept at the end, and least length of an episode (default: 16)",
    )
    parser.add_argument(
        "--max-duplicates",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="largest share of rows that repeat an image (default: 0.1)",
    )
    parser.add_argument(
        "--outcome",
        choices=("success", "failure", "unknown"),
        help="convert only bags that the operator judged so (default: all)",
    )
    parser.add_argument("--keep-idle", action="store_true", help="keep rest at start and end")
    parser.add_argument(
        "--on-gap",
        choices=("split", "refuse"),
        default="split",
        help="at a gap in a stream, begin a new episode (default) or reject the bag",
    )
    add_parallel_options(parser)
    parser.set_defaults(run=run_from_bags)


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=_FORMATS, default="v2.1", help="version of LeRobot (default: v2.1)"
    )


def run_from_bags(args: argparse.Namespace) -> int:
    """Convert; return 1 if a bag could not be converted."""
    _require_packages()
    from groot_ros.bags.episode import Outcome
    from groot_ros.core.share import robot_path
    from groot_ros.datasets.from_bags import ConversionSettings, convert_bags
    from groot_ros.datasets.rows import FROM_STATE, RowSettings

    _require_positive(args, "horizon")
    if not 0.0 <= args.max_duplicates <= 1.0:
        raise ValueError(f"--max-duplicates must be from 0 to 1, not {args.max_duplicates:g}")
    if args.fps < 0:
        raise ValueError(f"--fps must be positive, not {args.fps}")
    if args.action == FROM_STATE:
        print(
            "groot-ros dataset: actions are the states of the next row: a gripper that holds an "
            "object never reaches its command, so a weak grip is learnt, and so is sag by gravity",
            file=sys.stderr,
        )
    rows = RowSettings(
        fps=args.fps,
        instruction=args.task,
        action=args.action,
        horizon=args.horizon,
        max_duplicates=args.max_duplicates,
        trim_idle=not args.keep_idle,
        split_at_gaps=args.on_gap == "split",
    )
    robot = None if args.robot is None else robot_path(args.robot).absolute()
    outcome = None if args.outcome is None else Outcome(args.outcome)
    settings = ConversionSettings(rows, robot, args.leader, outcome)
    conversion = convert_bags(
        without_reports(args.bags), args.out, settings, args.format, jobs=args.jobs, dask=args.dask
    )
    print(format_conversion(conversion))
    if args.format == "v2.1":
        print(f"written to {args.out}; next: groot-ros dataset check {args.out}")
    else:
        print(f"written to {args.out} for LeRobot; groot-ros itself reads v2.1 only")
    return 1 if conversion.failed else 0


def format_conversion(conversion: "Conversion") -> str:
    """Return what was left out, and a table of the episodes."""
    from groot_ros.evaluation.table import format_table

    fps = conversion.description.fps
    table = format_table(
        ["episode", "rows", "s", "outcome", "instruction", "from"],
        [
            [
                str(number),
                str(episode.length),
                f"{episode.length / fps:.1f}",
                str(episode.entry["outcome"]),
                next(iter(episode.tasks.values())),
                episode.name,
            ]
            for number, episode in enumerate(conversion.episodes)
        ],
    )
    frames = sum(episode.length for episode in conversion.episodes)
    total = (
        f"{pluralise(len(conversion.episodes), 'episode')}, {pluralise(frames, 'row')} at {fps} "
        f"Hz, {pluralise(len(conversion.description.cameras), 'camera')}"
    )
    failed = [f"{result.name}: not converted: {result.error}" for result in conversion.failed]
    return "\n".join([*conversion.notes, *failed, table, total])


def run_to_bag(args: argparse.Namespace) -> int:
    """Write episodes as bags; return 1 if one could not be written."""
    _require_packages()
    from groot_ros.bags.parallel import map_episodes
    from groot_ros.core.share import robot_path
    from groot_ros.datasets.combine import parse_episodes
    from groot_ros.datasets.reader import Dataset
    from groot_ros.datasets.to_bag import write_bag

    count = len(Dataset(args.dataset).episodes)
    numbers = parse_episodes(args.episodes) if args.episodes else list(range(count))
    robot = robot_path(args.robot).absolute() if args.robot else None
    args.out.mkdir(parents=True, exist_ok=True)
    results = map_episodes(
        partial(write_bag, args.dataset.absolute(), args.out.absolute(), robot=robot),
        numbers,
        names=[f"episode {number}" for number in numbers],
        label="writing bags",
        jobs=args.jobs,
        dask=args.dask,
        paths=[args.dataset, args.out],
    )
    written = [result for result in results if not result.failed]
    print(f"{pluralise(len(written), 'bag')} written to {args.out}")
    return 0 if len(written) == len(results) else 1


def run_check(args: argparse.Namespace) -> int:
    """Print the findings; return 1 if one of them is an error."""
    _require_packages()
    from groot_ros.datasets.check import check_dataset

    _require_positive(args, "horizon")
    findings = check_dataset(args.dataset, args.horizon, jobs=args.jobs, dask=args.dask)
    for finding in findings:
        print(finding)
    errors = sum(finding.level == "error" for finding in findings)
    warnings = len(findings) - errors
    print(f"{args.dataset}: {pluralise(errors, 'error')}, {pluralise(warnings, 'warning')}")
    return 1 if errors else 0


def run_merge(args: argparse.Namespace) -> int:
    """Merge data sets."""
    _require_packages()
    from groot_ros.datasets.combine import merge_datasets

    count = merge_datasets(args.datasets, args.out, args.format)
    print(f"{pluralise(count, 'episode')} written to {args.out}")
    return 0


def run_split(args: argparse.Namespace) -> int:
    """Split a data set."""
    _require_packages()
    from groot_ros.datasets.combine import parse_episodes, random_share, split_dataset

    if args.episodes:
        chosen = parse_episodes(args.episodes)
    else:
        chosen = random_share(args.dataset, args.share, args.seed)
    counts = split_dataset(args.dataset, chosen, args.first, args.second, args.format)
    for count, out in zip(counts, (args.first, args.second), strict=True):
        print(f"{pluralise(count, 'episode')} written to {out}")
    return 0


def _require_positive(args: argparse.Namespace, name: str) -> None:
    if getattr(args, name) < 1:
        raise ValueError(f"--{name} must be at least 1, not {getattr(args, name)}")


def _require_packages() -> None:
    missing = [m for m in ("av", "pyarrow", "joblib") if importlib.util.find_spec(m) is None]
    if missing:
        raise ValueError(
            f"data sets need the Python package {missing[0]}: pip install 'groot_ros[datasets]'"
        )
