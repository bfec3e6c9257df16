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
from groot_ros.cli import operator

_EXAMPLES = """examples:
  groot-ros demo --out out/demo
  groot-ros up --checkpoint ~/my_checkpoint --robot ~/my_arm.yaml
  groot-ros inspect --checkpoint ~/my_checkpoint --robot ~/my_arm.yaml
  groot-ros bag record --robot so101 --out ~/bags/run1
  groot-ros say touch the red cube
  groot-ros stop
  groot-ros status --watch
  groot-ros up --help                # options of one verb
"""


#: Verbs of one module; all others are in the module of their name.
_SHARED_MODULES = {verb: "operator" for verb in operator.VERBS}
#: Package that may be missing -> extra of this package that installs it.
_EXTRAS = {
    **dict.fromkeys(("rosbags", "mcap", "joblib"), "bags"),
    **dict.fromkeys(("av", "pyarrow"), "datasets"),
    **dict.fromkeys(("dask", "distributed"), "dask"),
    **dict.fromkeys(("matplotlib", "jinja2", "plotly"), "report"),
}


def verb_names() -> tuple[str, ...]:
    """Return all verbs.

    They are the modules of `groot_ros.cli` that have a function `add_parser`, except those of
    several verbs, of which each is one.
    """
    names = {module.name for module in pkgutil.iter_modules(groot_ros.cli.__path__)}
    names -= {"main", *_SHARED_MODULES.values()}
    own = [name for name in names if not name.startswith("_")]
    return tuple(sorted([*filter(_is_verb, own), *_SHARED_MODULES]))


def make_parser(verbs: Iterable[str]) -> argparse.ArgumentParser:
    """Return the parser of these verbs."""
    parser = argparse.ArgumentParser(
        prog="groot-ros",
        description="Control a robot with a vision-language-action policy.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"groot_ros {__version__}")
    parser.set_defaults(verb="")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB")
    for verb in verbs:
        if verb in _SHARED_MODULES:
            _module(_SHARED_MODULES[verb]).add_parser(subparsers, verb)
        else:
            _module(verb).add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 success, 1 the run failed, 2 wrong usage."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv == ["--version"]:
        verbs: Sequence[str] = ()
    else:
        # A stop must not wait for the libraries that other verbs need.
        verbs = argv[:1] if argv and argv[0] in _SHARED_MODULES else verb_names()
    parser = make_parser(verbs)
    args = parser.parse_args(argv)
    if not args.verb:
        parser.print_help()
        return 2
    try:
        return int(args.run(args))
    except (ValueError, OSError) as error:
        # Imported here: the list of verbs is shown without NumPy, which the package imports.
        from groot_ros.core.printable import printable_lines

        print(f"groot-ros {args.verb}: {printable_lines(str(error))}", file=sys.stderr)
        return 2
    except ImportError as error:
        module = error.name or ""
        if isinstance(error, ModuleNotFoundError) and module in _EXTRAS:
            problem = (
                f"this needs the Python package {module}: pip install "
                f"'groot_ros[{_EXTRAS[module]}]'"
            )
        elif _is_of_ros(module):
            problem = f"ROS 2 is not there ({error}): source it, then try again"
        else:
            raise
        print(f"groot-ros {args.verb}: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _is_of_ros(module: str) -> bool:
    """Return whether a module comes with ROS 2 or with the built messages."""
    first, last = module.partition(".")[0], module.rpartition(".")[2]
    return first in ("rclpy", "std_srvs") or first.endswith("_msgs") or last in ("msg", "srv")


def _is_verb(name: str) -> bool:
    return hasattr(_module(name), "add_parser")


def _module(name: str) -> Any:
    return importlib.import_module(f"groot_ros.cli.{name}")
