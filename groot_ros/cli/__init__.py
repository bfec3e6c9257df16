# SPDX-License-Identifier: Apache-2.0
"""The command `groot-ros`: each module with a function `add_parser` is a verb."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def add_command(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    description: str,
    examples: str,
) -> argparse.ArgumentParser:
    """Add the parser of a command; its help ends with `examples`, printed as they are."""
    return subparsers.add_parser(
        name,
        help=f"{description[0].lower()}{description[1:].removesuffix('.')}",
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_actions(
    parser: argparse.ArgumentParser,
) -> "argparse._SubParsersAction[argparse.ArgumentParser]":
    """Add the actions of a command; without one it prints its help, with exit status 2."""

    def print_help(_: argparse.Namespace) -> int:
        parser.print_help()
        return 2

    parser.set_defaults(run=print_help)
    return parser.add_subparsers(dest="action", metavar="ACTION")


def pluralise(number: int, noun: str) -> str:
    """Return "1 action" or "2,000 actions"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def without_reports(recordings: Sequence[Path]) -> list[Path]:
    """Leave out what `groot-ros report` and `evaluate` wrote next to bags; name it on stderr.

    A pattern such as ~/bags/* matches these directories, too. If there is nothing else, all paths
    are returned.
    """
    reports = [
        path
        for path in recordings
        if path.name.endswith(("_report", "_evaluation"))
        and any((path / name).is_file() for name in ("table.txt", "evaluation.json"))
    ]
    if len(reports) == len(recordings):
        return list(recordings)
    for path in reports:
        print(f"groot-ros: left out {path}: a report, not a recording", file=sys.stderr)
    return [path for path in recordings if path not in reports]


def add_parallel_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that work on many episodes, those of map_episodes()."""
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="episodes at a time (default: one per CPU)"
    )
    parser.add_argument(
        "--dask",
        default="",
        metavar="ADDRESS",
        help="work on a Dask cluster that you started, for example tcp://host:8786; its workers "
        "must see the same files under the same paths",
    )
