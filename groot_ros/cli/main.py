"""Entry point of `groot-ros`: selects the verb and reports expected errors in one line."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from groot_ros import __version__

#: Verb -> summary; the module `groot_ros.cli.<verb>` provides `add_parser`. Modules are imported
#: on demand, so that `--help` and `bag info` do not load torch.
VERBS = {
    "up": "start policy and executor as supervised processes",
    "demo": "run the simulated robot for a while; pictures, a table and a bag",
    "bag": "record, inspect and recover bags",
    "report": "table and pictures of a recorded run",
    "infer": "actions for one observation from a file, with the time of every stage",
    "inspect": "show a checkpoint and check whether it fits a robot",
    "engine": "export, build, calibrate, validate and benchmark engines",
}

_EXAMPLES = """examples:
  groot-ros demo --out out/demo
  groot-ros up --checkpoint ~/my_checkpoint --robot ~/my_arm.yaml
  groot-ros inspect --checkpoint ~/my_checkpoint --robot ~/my_arm.yaml
  groot-ros bag record --robot so101 --out ~/bags/run1
  groot-ros up --help                # options of one verb
"""


def make_parser(verbs: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser with all options of `verbs` and only the summary of the others."""
    parser = argparse.ArgumentParser(
        prog="groot-ros",
        description="Control a robot with a vision-language-action policy.",
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
    """Run the command; return its exit status: 0 success, 1 the run failed, 2 wrong usage."""
    argv = list(sys.argv[1:] if argv is None else argv)
    args = make_parser([a for a in argv[:1] if a in VERBS]).parse_args(argv)
    try:
        return int(args.run(args))
    except (ValueError, OSError) as error:
        print(f"groot-ros {args.verb}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
