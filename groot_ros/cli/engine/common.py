# SPDX-License-Identifier: Apache-2.0
"""Options that the actions of `groot-ros engine` share, and functions that open their values."""

import argparse
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ros.core import PolicyConfig
from groot_ros.runtime import ATTENTION, PRECISIONS, QUANTISED, engine_names

if TYPE_CHECKING:
    from groot_ros.families.family import Checkpoint
    from groot_ros.policy import Policy
    from groot_ros.runtime.manifest import Manifest

#: Default numbers of observations to store, to calibrate with and to validate with.
STORED, CALIBRATED_WITH, VALIDATED_WITH = 4, 32, 8
#: Clocks that can time the runs of segments.
TIMERS = ("cuda_event", "wall")
#: Engines that can be validated and measured; "reference" is the one they are compared with.
CANDIDATES = tuple(name for name in engine_names() if name != "reference")
#: Called with the name of the current step and the fraction of it that is done.
Show = Callable[[str, float], None]


def add_action(
    actions: Any, name: str, run: Callable[[argparse.Namespace], int], help_: str, example: str
) -> argparse.ArgumentParser:
    """Add the parser of an action, with the options that all actions share."""
    parser: argparse.ArgumentParser = actions.add_parser(
        name,
        help=help_,
        description=f"{help_[0].upper()}{help_[1:]}.",
        epilog=f"example:\n  groot-ros engine {name} {example}\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--robot", help="robot contract, a name or a file, for errors in rad and m")
    parser.set_defaults(run=run)
    return parser


def export_options(parser: argparse.ArgumentParser, precisions: Sequence[str] = PRECISIONS) -> None:
    """Add the options of `engine export`; `precisions` are the values of --precision."""
    add = parser.add_argument
    add("--checkpoint", required=True, help="directory, or hub id of a downloaded checkpoint")
    add("--embodiment", required=True, metavar="TAG", help="embodiment tag of the checkpoint")
    add("--backbone-assets", metavar="DIR", help="the VLM's config and tokenizer, or a hub id")
    add("--base-checkpoint", metavar="DIR", help="base model that the checkpoint refers to")
    add(
        "--engine-directory",
        type=Path,
        metavar="DIR",
        help="directory to write (default: engines/CHECKPOINT_EMBODIMENT_PRECISION)",
    )
    add(
        "--precision",
        choices=precisions,
        default="float32",
        help="precision of weights and tensors (default: float32)"
        + ("; int8: products in INT8, the rest in bfloat16" if "int8" in precisions else ""),
    )
    add(
        "--segments",
        "--stages",
        nargs="+",
        metavar="SEGMENT",
        help="segments to export; PyTorch executes the others (default: all)",
    )
    add(
        "--attention",
        choices=ATTENTION,
        default="math",
        help="form of attention: math, required by TensorRT before 10.8 (default), or fused, "
        "chosen by the exporter",
    )
    add(
        "--steps",
        type=int,
        nargs="+",
        metavar="N",
        help="numbers of denoising steps to store reference outputs for (default: the "
        "checkpoint's)",
    )
    add(
        "--instruction-tokens",
        type=int,
        default=64,
        metavar="N",
        help="largest number of tokens in an instruction (default: 64)",
    )


def directory_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name an engine directory."""
    add = parser.add_argument
    add("--engine-directory", type=Path, required=True, metavar="DIR", help="written by export")
    add("--checkpoint", help="the exported checkpoint (default: its path at export)")


def quantise_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add the options of `engine calibrate`."""
    add = parser.add_argument
    add("--quantise", choices=QUANTISED, required=required, help="element type of the products")
    add(
        "--method",
        choices=("percentile", "max"),
        default="percentile",
        help="values covered by a range: 99.99 %% of them, or all (default: percentile)",
    )
    prefix = "" if required else "quantised-"
    add(
        f"--{prefix}segments",
        f"--{prefix}stages",
        dest="quantised_segments",
        nargs="+",
        metavar="SEGMENT",
        help="segments to quantise (default: those limited by the bandwidth of their weights, "
        "such as denoise)",
    )


def build_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `engine build`."""
    add = parser.add_argument
    add("--workspace", type=float, metavar="GIB", help="scratch memory (default: all free memory)")
    add(
        "--optimisation-level",
        type=int,
        default=3,
        choices=range(6),
        help="0 (quick build) to 5 (thorough) (default: 3)",
    )


def compile_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the engine "torch_tensorrt"."""
    add = parser.add_argument
    add(
        "--explicit-typing",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="torch_tensorrt: keep the element type of every tensor (default); otherwise weights "
        "are float32 and TensorRT chooses, which Torch-TensorRT for TensorRT 11 does not support",
    )
    add(
        "--fp32-accumulation",
        action="store_true",
        help="torch_tensorrt: accumulate matrix products of half precision in float32",
    )


def engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the option that selects engines."""
    parser.add_argument(
        "--engine",
        nargs="+",
        choices=CANDIDATES,
        help="engines to run (default: all that can run on this machine)",
    )


def benchmark_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `engine benchmark`."""
    add = parser.add_argument
    add("--runs", type=int, default=20, metavar="N", help="times are medians of N (default: 20)")
    add("--row", action="store_true", help="print rows for docs/reference/hardware.md")
    add(
        "--timer",
        choices=TIMERS,
        default="wall",
        help="clock of the segments' times: the host's, with a wait for the device before and "
        "after each run, or CUDA events, without waiting (default: wall)",
    )


def require_writable(option: str, path: Path, *, directory: bool) -> None:
    """Raise ValueError unless the path can be written, to fail before anything slow starts.

    Args:
        option: option that gave the path, for the message.
        path: file or directory to write.
        directory: whether it is a directory; missing parents are then allowed.

    """
    existing = next(p for p in (path, *path.absolute().parents) if p.exists())
    if directory:
        wrong = "" if existing.is_dir() else f"{existing} is not a directory"
    elif path.is_dir():
        wrong = "it is a directory"
    else:
        parents = (path, path.absolute().parent)
        wrong = "" if existing in parents else f"{existing} has no such directory"
    if not wrong and not os.access(existing, os.W_OK):
        wrong = f"{existing} is not writable"
    if wrong:
        raise ValueError(f"{option} {path}: {wrong}; give another path")


def require_segments(option: str, names: list[str] | None, checkpoint: "Checkpoint") -> None:
    """Raise ValueError unless the checkpoint's program has these segments."""
    known = checkpoint.program.names
    for name in names or ():
        if name not in known:
            raise ValueError(f"{option} must be among {', '.join(known)}, not '{name}'")


def require_installed(*packages: str) -> None:
    """Raise ValueError naming the first package that is missing."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"{missing[0]} is not installed: pip install 'groot_ros[onnx]'")


def open_manifest(args: argparse.Namespace) -> "Manifest":
    """Read the manifest of the engine directory; raises EngineFilesError if it is invalid."""
    from groot_ros.runtime.manifest import Manifest

    return Manifest.read(args.engine_directory)


def device_of(args: argparse.Namespace) -> Any:
    """Return the torch device of the options; raises ValueError if it does not exist."""
    from groot_ros.runtime.device import choose_device

    return choose_device(args.device)


def open_robot(args: argparse.Namespace) -> Any:
    """Read the robot contract of the options; return None without --robot."""
    from groot_ros.core.share import robot_path
    from groot_ros.robot import load_contract

    return None if args.robot is None else load_contract(robot_path(args.robot))


def open_checkpoint(args: argparse.Namespace, manifest: "Manifest") -> "Checkpoint":
    """Open the checkpoint that the engine files were made from, without its weights."""
    from groot_ros.policy.loading import open_checkpoint as open_

    return open_(_config(args, manifest))


def open_policy(
    args: argparse.Namespace,
    manifest: "Manifest",
    engine: str,
    *,
    validated: bool = True,
    dtype: str = "auto",
    show: Show | None = None,
) -> "Policy":
    """Load a policy with one of the engines.

    Args:
        args: parsed options.
        manifest: manifest of the engine directory.
        engine: name of the engine.
        validated: whether to use the engine directory and validate the engine. A failed validation
            is not an error, as the actions report its result.
        dtype: element type of the weights, for engines that need no files.
        show: displays the progress.

    """
    from groot_ros.policy import load_policy

    config = _config(
        args,
        manifest,
        device=args.device,
        engine=engine,
        engine_directory=str(args.engine_directory) if validated else "",
        allow_unvalidated_engine=True,
        dtype=dtype,
        num_inference_steps=manifest.steps[0],
    )

    def progress(stage: str, fraction: float) -> None:
        if show is not None:
            show(f"{engine}: loading {stage}", fraction)

    return load_policy(config, robot=open_robot(args), progress=progress)


def open_reference(
    args: argparse.Namespace, manifest: "Manifest", engine: str, show: Show
) -> "Policy":
    """Load the policy that an engine is compared with.

    That is engine "torch" in float32; if the engine to compare is itself that one, it is engine
    "reference".
    """
    from groot_ros.runtime.device import choose_dtype

    device = device_of(args)
    is_float32 = choose_dtype("auto", device) == choose_dtype("float32", device)
    name = "reference" if engine == "torch" and is_float32 else "torch"
    return open_policy(args, manifest, name, validated=False, dtype="float32", show=show)


def engines_of(args: argparse.Namespace, manifest: "Manifest") -> list[str]:
    """Return the engines of --engine, or all that can run; print why the others cannot."""
    from groot_ros.runtime.engines import EngineFiles, unavailable_reason

    if args.engine:
        return list(args.engine)
    files = EngineFiles(args.engine_directory, manifest)
    reasons = {name: unavailable_reason(name, device_of(args), files) for name in CANDIDATES}
    for name, reason in reasons.items():
        if reason:
            print(f"engine {name} skipped: {reason}")
    return [name for name, reason in reasons.items() if not reason]


@contextmanager
def failures_of(what: str) -> Iterator[None]:
    """Convert RuntimeErrors of torch, such as out of memory, to ValueErrors with one line."""
    try:
        yield
    except RuntimeError as error:
        raise ValueError(f"{what}: {' '.join(str(error).split())}") from error


@contextmanager
def progress_bar() -> Iterator[Show]:
    """Show a progress bar, labelled with the current step, until the context ends."""
    from tqdm import tqdm

    with tqdm(
        total=100, bar_format="{desc:<32} {percentage:3.0f}%|{bar}|", disable=None, leave=False
    ) as bar:

        def show(what: str, fraction: float) -> None:
            bar.set_description_str(what, refresh=False)
            bar.n = round(100 * fraction)
            bar.refresh()

        yield show


def _config(args: argparse.Namespace, manifest: "Manifest", **fields: Any) -> PolicyConfig:
    return PolicyConfig(
        checkpoint=str(args.checkpoint or manifest.checkpoint),
        embodiment=manifest.embodiment,
        backbone_assets=manifest.backbone_assets,
        base_checkpoint=manifest.base_checkpoint,
        **fields,
    )
