"""`groot-ros report`: table and pictures of a recorded run."""

import argparse
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "report",
        help="table and pictures of a recorded run",
        description="Table and pictures of a run, from its bag.",
        epilog="example:\n  groot-ros report ~/bags/run1 --out ~/bags/run1_report\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bag", type=Path, help="directory of the bag")
    parser.add_argument("--out", type=Path, help="where to write (default: BAG_report)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the report."""
    from groot_ros.evaluation.report import write_report

    out = args.out or args.bag.with_name(f"{args.bag.name}_report")
    write_report(args.bag, out)
    print(f"\nresults in {out}/")
    return 0
