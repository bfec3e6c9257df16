"""Options that actions of `groot-ros engine` share."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from groot_ros.runtime.names import ENGINES, PRECISIONS, QUANTISED, STAGES

#: Observations that prove, calibrate and validate, unless asked otherwise.
PROVEN_WITH, CALIBRATED_WITH, VALIDATED_WITH = 4, 32, 8
#: Engines to prove and to measure; "plain" is what they are proven with.
CANDIDATES = tuple(name for name in ENGINES if name != "plain")


def add_action(
    actions: Any, name: str, run: Callable[[argparse.Namespace], int], help_: str, example: str
) -> argparse.ArgumentParser:
    """A parser with what every action takes."""
    parser: argparse.ArgumentParser = actions.add_parser(
        name,
        help=help_,
        description=f"{help_[0].upper()}{help_[1:]}.",
        epilog=f"example:\n  groot-ros engine {name} {example}\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--robot", help="robot contract, a name or a file: errors in rad and m")
    parser.set_defaults(run=run)
    return parser


def export_options(parser: argparse.ArgumentParser) -> None:
    """Which checkpoint, and what becomes of it."""
    add = parser.add_argument
    add("--checkpoint", required=True, help="directory, or a hub id that was downloaded before")
    add("--embodiment", required=True, metavar="TAG", help="as in processor_config.json")
    add("--backbone-assets", metavar="DIR", help="the VLM's config and tokenizer, or a hub id")
    add(
        "--engine-directory",
        type=Path,
        metavar="DIR",
        help="(default: engines/CHECKPOINT_EMBODIMENT_PRECISION)",
    )
    add(
        "--precision",
        choices=PRECISIONS,
        default="float32",
        help="of weights and tensors (default: float32)",
    )
    add(
        "--stages",
        nargs="+",
        choices=STAGES,
        default=list(STAGES),
        help="those that become files; PyTorch runs the others (default: all)",
    )
    add(
        "--attention",
        choices=("by_hand", "fused"),
        default="by_hand",
        help="by_hand for TensorRT before 10.8 (default), or as the exporter likes",
    )
    add(
        "--steps",
        type=int,
        nargs="+",
        metavar="N",
        help="numbers of denoising steps to be proven (default: the checkpoint's)",
    )
    add(
        "--instruction-tokens",
        type=int,
        default=64,
        metavar="N",
        help="longest instruction that a built engine takes (default: 64)",
    )


def directory_options(parser: argparse.ArgumentParser) -> None:
    """Which engine directory."""
    add = parser.add_argument
    add("--engine-directory", type=Path, required=True, metavar="DIR", help="of `engine export`")
    add("--checkpoint", help="(default: where it lay at export)")


def quantise_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """What is stored in 8 bits, and how ranges are found."""
    add = parser.add_argument
    add("--quantise", choices=QUANTISED, required=required, help="what the products become")
    add(
        "--method",
        choices=("percentile", "max"),
        default="percentile",
        help="what a range covers: 99.99 %% of the values, or all (default: percentile)",
    )
    name = "--stages" if required else "--quantised-stages"
    add(
        name,
        dest="quantised_stages",
        nargs="+",
        choices=STAGES,
        default=["denoise"],
        help="(default: denoise, which is bound by the bandwidth of its weights)",
    )


def build_options(parser: argparse.ArgumentParser) -> None:
    """What TensorRT may use and try."""
    add = parser.add_argument
    add("--workspace", type=float, metavar="GIB", help="scratch memory (default: all that is free)")
    add("--optimisation-level", type=int, default=3, choices=range(6), help="(default: 3)")


def engine_options(parser: argparse.ArgumentParser) -> None:
    """Which engines."""
    parser.add_argument(
        "--engine",
        nargs="+",
        choices=CANDIDATES,
        help="(default: all that can run here)",
    )


def benchmark_options(parser: argparse.ArgumentParser) -> None:
    """How often, and how it is printed."""
    add = parser.add_argument
    add("--runs", type=int, default=20, metavar="N", help="times are medians of N (default: 20)")
    add("--row", action="store_true", help="print rows for docs/reference/hardware.md")
