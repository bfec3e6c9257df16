# SPDX-License-Identifier: Apache-2.0
"""`groot-ros engine export`: convert a checkpoint to ONNX files and reference outputs."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ros.cli.engine.common import (
    STORED,
    add_action,
    device_of,
    export_options,
    failures_of,
    open_robot,
    progress_bar,
    require_installed,
    require_segments,
    require_writable,
)
from groot_ros.cli.observations import add_source_options, gather, require_source
from groot_ros.core import MAX_INFERENCE_STEPS, PolicyConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from groot_ros.core.program import ModelInputs, Range
    from groot_ros.families.family import Checkpoint
    from groot_ros.runtime.torch_tensorrt.options import CompileOptions


def add(actions: Any) -> None:
    """Add the parser of `engine export`."""
    parser = add_action(
        actions,
        "export",
        run,
        "export a checkpoint to ONNX files, reference outputs and a manifest",
        "--checkpoint ~/pick --embodiment new_embodiment --precision bfloat16",
    )
    export_options(parser)
    add_source_options(parser, STORED)


def run(args: argparse.Namespace, compiled: "CompileOptions | None" = None) -> int:
    """Write an engine directory.

    Args:
        args: parsed options; `segments` are the exported ones, all if None.
        compiled: options of the engine "torch_tensorrt", if it was requested.

    """
    require_installed("onnx", "onnxscript")
    from groot_ros.cli.engine.tables import describe
    from groot_ros.export.export_engine import ExportOptions, export_engine
    from groot_ros.policy import load_policy
    from groot_ros.policy.loading import open_checkpoint

    require_source(args)
    robot = open_robot(args)
    config = PolicyConfig(
        checkpoint=args.checkpoint,
        embodiment=args.embodiment,
        device=args.device,
        engine="reference",
        dtype="float32",
        backbone_assets=args.backbone_assets or "",
        base_checkpoint=args.base_checkpoint or "",
    )
    checkpoint = open_checkpoint(config, robot)
    require_segments("--segments", args.segments, checkpoint)
    steps = tuple(dict.fromkeys(args.steps or [checkpoint.spec.sampling_steps]))
    for count in steps:
        if not 1 <= count <= MAX_INFERENCE_STEPS:
            raise ValueError(f"--steps must be from 1 to {MAX_INFERENCE_STEPS}, not {count}")
    if args.instruction_tokens < 1:
        raise ValueError(f"--instruction-tokens must be at least 1, not {args.instruction_tokens}")
    profile = checkpoint.profile(args.image_size, args.instruction_tokens)
    if args.engine_directory is None:
        name = f"{checkpoint.path.resolve().name}_{args.embodiment}_{args.precision}"
        args.engine_directory = Path("engines") / name
    require_writable("--engine-directory", args.engine_directory, directory=True)
    with failures_of("export"), progress_bar() as show:
        policy = load_policy(
            config,
            robot=robot,
            progress=lambda stage, fraction: show(f"loading {stage}", fraction),
        )
        observations, source = gather(args, policy)
        for observation in observations:
            require_inside(profile, policy.encode(observation)[0], checkpoint)
        manifest = export_engine(
            policy,
            observations,
            source,
            profile,
            args.engine_directory,
            ExportOptions(
                args.precision, args.segments, args.attention, steps, args.image_size, compiled
            ),
            show,
            device=device_of(args),
            backbone_assets=args.backbone_assets or "",
            base_checkpoint=args.base_checkpoint or "",
        )
    print(f"{args.engine_directory}: {describe(manifest)}")
    return 0


def require_inside(
    profile: "Mapping[str, Range]", inputs: "ModelInputs", checkpoint: "Checkpoint"
) -> None:
    """Raise ValueError unless the profile includes the sizes of this observation.

    An engine could not run reference cases of other sizes.
    """
    for name, sizes in checkpoint.sizes(inputs).items():
        low, _, high = profile[name]
        wrong = [size for size in sizes if not low <= size <= high]
        if wrong:
            raise ValueError(
                f"'{name}' is {wrong[0]}, engines would be built for {low} to {high}: give "
                "--image-size of the images and --instruction-tokens of the instruction"
            )
