"""`groot-ros engine export`: a checkpoint to ONNX files, stored answers and a manifest."""

import argparse
from pathlib import Path
from typing import Any

from groot_ros.cli.engine.opened import failures_of, open_robot, require_installed
from groot_ros.cli.engine.options import (
    PROVEN_WITH,
    add_action,
    export_options,
    require_writable,
)
from groot_ros.cli.engine.progress import bars
from groot_ros.cli.observations import add_source_options, gather, require_source


def add(actions: Any) -> None:
    """Add the action."""
    parser = add_action(
        actions,
        "export",
        run,
        "a checkpoint to ONNX files, stored answers and a manifest",
        "--checkpoint ~/pick --embodiment new_embodiment --precision bfloat16",
    )
    export_options(parser)
    add_source_options(parser, PROVEN_WITH)


def run(args: argparse.Namespace) -> int:
    """Write an engine directory."""
    require_installed("onnx", "onnxscript")
    from groot_ros.cli.engine.tables import describe
    from groot_ros.export.pipeline import ExportOptions, export_engine
    from groot_ros.policy import load_policy
    from groot_ros.runtime.checkpoint_parts import open_checkpoint
    from groot_ros.runtime.placement import choose_device
    from groot_ros.runtime.profile import derive_profile, require_inside

    require_source(args)
    robot = open_robot(args)
    parts = open_checkpoint(
        args.checkpoint, args.embodiment, backbone_assets=args.backbone_assets, robot=robot
    )
    steps = tuple(dict.fromkeys(args.steps or [parts.config.num_inference_timesteps]))
    if min(steps) < 1:
        raise ValueError(f"--steps must be at least 1, not {min(steps)}")
    if args.instruction_tokens < 1:
        raise ValueError(f"--instruction-tokens must be at least 1, not {args.instruction_tokens}")
    profile = derive_profile(
        parts.processor, parts.config, args.image_size, args.instruction_tokens
    )
    if args.engine_directory is None:
        name = f"{parts.directory.resolve().name}_{args.embodiment}_{args.precision}"
        args.engine_directory = Path("engines") / name
    require_writable("--engine-directory", args.engine_directory, directory=True)
    with failures_of("export"), bars() as show:
        policy = load_policy(
            args.checkpoint,
            args.embodiment,
            robot=robot,
            device=args.device,
            engine="plain",
            dtype="float32",
            backbone_assets=args.backbone_assets,
            progress=lambda stage, fraction: show(f"loading {stage}", fraction),
        )
        observations, source = gather(args, policy)
        for observation in observations:
            inputs, _ = policy.encode(observation)
            image_id = parts.config.eagle.image_token_index
            require_inside(profile, inputs, parts.processor, image_id)
        manifest = export_engine(
            policy,
            parts,
            observations,
            source,
            profile,
            args.engine_directory,
            ExportOptions(
                args.precision, tuple(args.stages), args.attention, steps, args.image_size
            ),
            show,
            device=choose_device(args.device),
            backbone_assets=args.backbone_assets or "",
        )
    print(f"{args.engine_directory}: {describe(manifest)}")
    return 0
