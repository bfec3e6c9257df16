"""A checkpoint directory to a policy: its files, the engine that was asked for, and the proof."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from groot_ros.policy.facade import DEFAULT_ACTION_DT, Policy
from groot_ros.robot import RobotContract
from groot_ros.runtime.checkpoint_parts import open_checkpoint
from groot_ros.runtime.choice import choose_engine, order_of
from groot_ros.runtime.engine import Engine
from groot_ros.runtime.engines import EngineFiles, load_engine, obstacle
from groot_ros.runtime.manifest import Manifest
from groot_ros.runtime.measured import seconds_here
from groot_ros.runtime.names import ENGINES
from groot_ros.runtime.oracle import ReferenceOutputs, ValidationResult, tolerance_of
from groot_ros.runtime.placement import DTYPES, choose_device, choose_dtype


def load_policy(
    checkpoint: str | Path,
    embodiment: str,
    *,
    robot: RobotContract | None = None,
    device: str = "auto",
    engine: str = "torch",
    engine_directory: str | Path | None = None,
    allow_unvalidated_engine: bool = False,
    dtype: str = "auto",
    backbone_assets: str | Path | None = None,
    num_inference_steps: int | None = None,
    action_dt: float = DEFAULT_ACTION_DT,
    progress: Callable[[str, float], None] | None = None,
) -> Policy:
    """Load a checkpoint for one embodiment.

    Args:
        checkpoint: directory, or a hub id that was downloaded before.
        embodiment: tag, as in processor_config.json.
        robot: gives joint names, units and the time step; checked against the checkpoint.
        device: "auto" (the GPU if there is one), "cpu", "cuda", "cuda:1", ...
        engine: one of `ENGINES`, or "auto": the fastest that is proven here.
        engine_directory: exported files; every engine is then compared with the answers stored
            there before it is taken.
        allow_unvalidated_engine: run the engine asked for even where it gives other answers.
        dtype: "auto" (bfloat16 on a GPU, else float32), "float32" or "bfloat16".
        backbone_assets: directory or hub id of the VLM's config and tokenizer, where the
            checkpoint does not hold them.
        num_inference_steps: denoising steps, the checkpoint's own number if None.
        action_dt: seconds between actions where there is no robot contract.
        progress: called with the stage ("config", "weights") and the fraction of it that is done.

    Raises:
        CheckpointError: one line naming file and key.
        EngineFilesError: one line naming what does not agree, and how to rebuild.
        EngineFailedError: the engine broke while it was loaded or proven.
        UnvalidatedEngineError: the engine does not give the stored answers.
        ValueError: an argument is wrong.

    """
    report = progress if progress is not None else _silent
    report("config", 0.0)
    _require_choice("engine", engine, ("auto", *ENGINES))
    _require_choice("dtype", dtype, DTYPES)
    if num_inference_steps is not None and num_inference_steps < 1:
        raise ValueError(f"num_inference_steps must be at least 1, not {num_inference_steps}")
    target = choose_device(device)
    parts = open_checkpoint(checkpoint, embodiment, backbone_assets=backbone_assets, robot=robot)
    digest = parts.digest()
    steps = num_inference_steps or parts.config.num_inference_timesteps
    files = oracle = None
    if engine_directory:
        # All of it before the weights are read, which takes long.
        files = EngineFiles(Path(engine_directory), Manifest.read(Path(engine_directory)))
        files.manifest.require_checkpoint(files.directory, parts.directory, digest, embodiment)
        oracle = ReferenceOutputs.load(files.directory, files.manifest)
        if engine == "auto" or not allow_unvalidated_engine:
            files.manifest.require_steps(files.directory, steps)
    report("config", 1.0)

    weights = choose_dtype(dtype, target)

    def policy_with(built: Engine) -> Policy:
        return Policy(
            parts.processor,
            built,
            parts.config,
            robot=robot,
            checkpoint_hash=digest,
            num_inference_steps=num_inference_steps,
            action_dt=action_dt,
        )

    def prove(built: Engine) -> ValidationResult | None:
        if files is None or oracle is None:
            return None
        files.manifest.require_steps(files.directory, steps)
        tolerance = tolerance_of(files.manifest, built.name, weights)
        return policy_with(built).prove(oracle, steps, tolerance)

    measured = seconds_here(files.directory, target) if files and engine == "auto" else {}
    choice = choose_engine(
        engine,
        partial(
            load_engine,
            directory=parts.directory,
            config=parts.config,
            embodiment=parts.processor.embodiment_id,
            device=target,
            dtype=weights,
            step_counts=(steps,),
            progress=lambda fraction: report("weights", fraction),
            files=files,
        ),
        prove,
        obstacle=lambda name: obstacle(name, target, files),
        order=order_of(measured),
        allow_unvalidated=allow_unvalidated_engine,
    )
    policy = policy_with(choice.engine)
    policy.notes, policy.warnings = choice.notes, choice.warnings
    policy.verdict = choice.verdict
    return policy


def _require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not '{value}'")


def _silent(stage: str, fraction: float) -> None:
    """No progress wanted."""
