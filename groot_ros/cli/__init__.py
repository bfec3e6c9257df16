# SPDX-License-Identifier: Apache-2.0
"""The command `groot-ros`: each module with a function `add_parser` is a verb."""

import argparse


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


def pluralise(number: int, noun: str) -> str:
    """Return "1 action" or "2,000 actions"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
