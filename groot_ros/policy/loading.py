# SPDX-License-Identifier: Apache-2.0
"""Load a policy: a checkpoint's files, the requested engine, and its validation."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from groot_ros.checkpoint.locate import find_checkpoint
from groot_ros.core import PolicyConfig
from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.family import Checkpoint, PickPlaceCheckpoint, PolicySpec
from groot_ros.families.registry import find_family
from groot_ros.policy.arm_planner import ArmPlanner
from groot_ros.policy.pick_place import PickPlacePolicy
from groot_ros.policy.policy import DEFAULT_ACTION_DT, Policy
from groot_ros.policy.robot_columns import require_counterparts
from groot_ros.robot import RobotContract
from groot_ros.runtime import AUTO
from groot_ros.runtime.device import (
    choose_device,
    choose_dtype,
    default_threads,
    describe_device,
)
from groot_ros.runtime.engine import Engine
from groot_ros.runtime.engine_benchmarks import seconds_here
from groot_ros.runtime.engines import (
    EngineFiles,
    LoadRequest,
    candidates,
    get_engine,
    unavailable_reason,
)
from groot_ros.runtime.manifest import Manifest
from groot_ros.runtime.reference_outputs import (
    ReferenceOutputs,
    ValidationResult,
    tolerance_of,
)
from groot_ros.runtime.selection import order_of, select_engine

#: Called with the stage ("config", "weights") and the fraction of it that is done.
LoadProgress = Callable[[str, float], None]
#: Called with the checkpoint's specification before the weights are read; raises ValueError if the
#: policy shall not be loaded.
SpecCheck = Callable[[PolicySpec], object]


def open_checkpoint(
    config: PolicyConfig, robot: RobotContract | None = None, check: SpecCheck | None = None
) -> Checkpoint:
    """Read a checkpoint without its weights, and check that it fits the robot.

    Args:
        config: checkpoint, embodiment and the files that it refers to.
        robot: robot contract.
        check: see `SpecCheck`.

    Raises:
        CheckpointError: the checkpoint is invalid, does not fit the robot, or its actions are
            poses; the one-line message names what and where.

    """
    checkpoint = _require_chunks(_open(config, check))
    if robot is not None:
        require_counterparts(checkpoint.spec, robot)
    return checkpoint


def _open(config: PolicyConfig, check: SpecCheck | None) -> Checkpoint | PickPlaceCheckpoint:
    path = find_checkpoint(config.checkpoint)
    checkpoint = find_family(path).open(
        path,
        embodiment=config.embodiment,
        assets=config.backbone_assets or None,
        base=config.base_checkpoint or None,
    )
    if check is not None:
        check(checkpoint.spec)
    return checkpoint


def _require_chunks(checkpoint: Checkpoint | PickPlaceCheckpoint) -> Checkpoint:
    if checkpoint.spec.action != "chunk":
        raise CheckpointError(
            f"{checkpoint.path}: actions of model family '{checkpoint.spec.family}' are poses on a "
            "table, which only the policy node and the tasks vima/... of the simulator turn into "
            "motion"
        )
    return cast("Checkpoint", checkpoint)


def set_threads(config: PolicyConfig) -> int:
    """Set and return the number of torch's CPU threads in this process."""
    count = config.torch_threads or default_threads(
        _weight_bytes(find_checkpoint(config.checkpoint))
    )
    torch.set_num_threads(count)
    return count


def load_policy(
    config: PolicyConfig,
    *,
    robot: RobotContract | None = None,
    action_dt: float = DEFAULT_ACTION_DT,
    progress: LoadProgress = lambda stage, fraction: None,
    check: SpecCheck | None = None,
) -> Policy:
    """Load a checkpoint for one embodiment.

    Args:
        config: checkpoint, embodiment, engine, device, ...; fields that only the node uses are
            ignored.
        robot: robot contract with joint names, units and the time step; the checkpoint must fit it.
        action_dt: time between actions without a robot contract, s.
        progress: see `LoadProgress`.
        check: see `SpecCheck`.

    Raises:
        CheckpointError: the checkpoint is invalid or does not fit the robot.
        EngineFilesError: the engine files cannot be used; names what does not match and the
            command that rebuilds them.
        EngineFailedError: the engine failed while it was loaded or validated.
        UnvalidatedEngineError: the engine does not reproduce the reference outputs.
        ValueError: a value of `config` is wrong, such as an unknown device or engine.

    """
    progress("config", 0.0)
    device = _device_of(config)
    checkpoint = open_checkpoint(config, robot, check)
    return _load_chunk_policy(checkpoint, config, device, robot, action_dt, progress)


def load_robot_policy(
    config: PolicyConfig,
    *,
    robot: RobotContract,
    progress: LoadProgress = lambda stage, fraction: None,
    check: SpecCheck | None = None,
) -> Policy | PickPlacePolicy:
    """Load a checkpoint of any family for a robot; arguments and errors as in `load_policy`."""
    progress("config", 0.0)
    device = _device_of(config)
    checkpoint = _open(config, check)
    require_counterparts(checkpoint.spec, robot)
    if checkpoint.spec.action == "chunk":
        opened = _require_chunks(checkpoint)
        return _load_chunk_policy(opened, config, device, robot, DEFAULT_ACTION_DT, progress)
    family = checkpoint.spec.family
    if config.engine not in (AUTO, "torch") or config.engine_directory:
        raise ValueError(
            f"model family '{family}' runs in torch only: set engine to auto, and no "
            "engine_directory"
        )
    progress("config", 1.0)
    planner = ArmPlanner(robot)
    progress("weights", 0.0)
    try:
        model = cast("PickPlaceCheckpoint", checkpoint).load(device)
    except ImportError as error:
        raise ValueError(str(error)) from error
    progress("weights", 1.0)
    return PickPlacePolicy(
        checkpoint.spec, model, planner, robot, checkpoint.digest(), describe_device(device)
    )


def _device_of(config: PolicyConfig) -> torch.device:
    if config.engine != AUTO:
        get_engine(config.engine)
    return choose_device(config.device)


def _load_chunk_policy(
    checkpoint: Checkpoint,
    config: PolicyConfig,
    device: torch.device,
    robot: RobotContract | None,
    action_dt: float,
    progress: LoadProgress,
) -> Policy:
    digest = checkpoint.digest()
    steps = config.num_inference_steps or checkpoint.spec.sampling_steps
    # Checked before the weights are read, which takes long.
    stored = _read_engine_files(config, checkpoint, digest, steps)
    progress("config", 1.0)
    dtype = choose_dtype(config.dtype, device)
    files = None if stored is None else stored.files

    def policy_with(engine: Engine) -> Policy:
        return Policy(
            checkpoint,
            engine,
            robot=robot,
            checkpoint_hash=digest,
            num_inference_steps=steps,
            action_dt=action_dt,
        )

    def validate(engine: Engine) -> ValidationResult | None:
        if stored is None:
            return None
        manifest = stored.files.manifest
        manifest.require_steps(stored.files.directory, steps)
        tolerance = tolerance_of(manifest, get_engine(engine.name).needs_files, dtype)
        return policy_with(engine).validate(stored.outputs, steps, tolerance)

    request = LoadRequest(
        checkpoint,
        device,
        dtype,
        step_counts=(steps,),
        progress=lambda fraction: progress("weights", fraction),
        files=files,
    )
    measured = seconds_here(files.directory, device) if files and config.engine == AUTO else {}
    selection = select_engine(
        config.engine,
        lambda name: get_engine(name).load(request),
        validate,
        unavailable_reason=lambda name: unavailable_reason(name, device, files),
        order=order_of(measured, candidates()),
        allow_unvalidated=config.allow_unvalidated_engine,
    )
    policy = policy_with(selection.engine)
    policy.notes, policy.warnings = selection.notes, selection.warnings
    policy.validation = selection.validation
    return policy


@dataclass(frozen=True)
class _Stored:
    files: EngineFiles
    outputs: ReferenceOutputs


def _read_engine_files(
    config: PolicyConfig, checkpoint: Checkpoint, digest: str, steps: int
) -> _Stored | None:
    """Read the manifest and the reference outputs; return None if no engine directory is set."""
    if not config.engine_directory:
        return None
    directory = Path(config.engine_directory)
    manifest = Manifest.read(directory)
    manifest.require_checkpoint(
        directory,
        checkpoint.path,
        digest,
        config.embodiment,
        checkpoint.spec.family,
        checkpoint.program,
    )
    outputs = ReferenceOutputs.load(directory, manifest)
    if config.engine == AUTO or not config.allow_unvalidated_engine:
        manifest.require_steps(directory, steps)
    return _Stored(EngineFiles(directory, manifest), outputs)


def _weight_bytes(path: Path) -> int:
    """Return the size of a checkpoint's weight files in bytes."""
    files = [path] if path.is_file() else list(path.glob("*.safetensors"))
    return sum(file.stat().st_size for file in files)
