"""The entry point: finds the verb, and turns expected failures into one line."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from groot_ros import __version__

#: Verb -> module below groot_ros.cli, imported only when it is asked for: `--help` and
#: `bag info` must not wait for torch.
VERBS = {
    "up": "bring up policy and executor as supervised processes",
    "demo": "drive a simulated robot for a while; pictures, table and a bag",
    "bag": "record bags of the graph, and look into them",
    "report": "table and pictures of a recorded run",
    "infer": "one observation from a file to actions, with the time of every stage",
    "inspect": "what a checkpoint is, and whether it fits a robot",
    "engine": "export, build, calibrate, validate and measure engines",
}

_EXAMPLES = """examples:
  groot-ros demo --out out/demo
  groot-ros up --checkpoint ~/my_checkpoint --robot ~/my_arm.yaml
  groot-ros inspect --checkpoint ~/my_checkpoint --robot ~/my_arm.yaml
  groot-ros bag record --robot so101 --out ~/bags/run1
"""


def make_parser(verbs: Sequence[str]) -> argparse.ArgumentParser:
    """The parser with the full option list of `verbs`, and the names of all others."""
    parser = argparse.ArgumentParser(
        prog="groot-ros",
        description="A vision-language-action policy in control of a robot.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"groot_ros {__version__}")
    subparsers = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, summary in VERBS.items():
        if verb in verbs:
            importlib.import_module(f"groot_ros.cli.{verb}").add_parser(subparsers)
        else:
            subparsers.add_parser(verb, help=summary)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 the run failed, 2 wrong use."""
    argv = list(sys.argv[1:] if argv is None else argv)
    args = make_parser([a for a in argv[:1] if a in VERBS]).parse_args(argv)
    try:
        return int(args.run(args))
    except (ValueError, OSError) as error:
        print(f"groot-ros {args.verb}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
