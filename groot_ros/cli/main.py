# SPDX-License-Identifier: Apache-2.0
"""Entry point of `groot-ros`: finds the verbs and reports expected errors in one line."""

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import groot_ros.cli
from groot_ros import __version__
from groot_ros.core.printable import printable_lines

_EXAMPLES = """examples:
  groot-ros demo --out out/demo
  groot-ros up --checkpoint ~/my_checkpoint --robot ~/my_arm.yaml
  groot-ros inspect --checkpoint ~/my_checkpoint --robot ~/my_arm.yaml
  groot-ros bag record --robot so101 --out ~/bags/run1
  groot-ros up --help                # options of one verb
"""


def verb_names() -> tuple[str, ...]:
    """Return all verbs: the modules of `groot_ros.cli` that have a function `add_parser`."""
    names = [module.name for module in pkgutil.iter_modules(groot_ros.cli.__path__)]
    public = sorted(name for name in names if not name.startswith("_"))
    return tuple(name for name in public if hasattr(_module(name), "add_parser"))


def make_parser(verbs: Iterable[str]) -> argparse.ArgumentParser:
    """Return the parser of these verbs."""
    parser = argparse.ArgumentParser(
        prog="groot-ros",
        description="Control a robot with a vision-language-action policy.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"groot_ros {__version__}")
    subparsers = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in verbs:
        _module(verb).add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 success, 1 the run failed, 2 wrong usage."""
    argv = list(sys.argv[1:] if argv is None else argv)
    # The version is known without the libraries that the verbs need.
    verbs = () if argv == ["--version"] else verb_names()
    args = make_parser(verbs).parse_args(argv)
    try:
        return int(args.run(args))
    except (ValueError, OSError) as error:
        print(f"groot-ros {args.verb}: {printable_lines(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _module(name: str) -> Any:
    return importlib.import_module(f"groot_ros.cli.{name}")
