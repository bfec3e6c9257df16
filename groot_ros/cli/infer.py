# SPDX-License-Identifier: Apache-2.0
"""`groot-ros infer`: compute an action chunk for one observation from a file, without a robot."""

import argparse
import math
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from groot_ros.cli import add_command, pluralise
from groot_ros.cli.config_options import add_config_options, config_from_options
from groot_ros.core import PolicyConfig
from groot_ros.core.config import parameters_of
from groot_ros.evaluation.table import format_table

if TYPE_CHECKING:
    from groot_ros.core import ActionChunk, ActionGroup, Observation
    from groot_ros.policy import Policy
    from groot_ros.robot import RobotContract

_EXAMPLES = """examples:
  groot-ros infer --checkpoint ~/checkpoints/pick --embodiment new_embodiment \\
      --observation seen.npz --instruction "pick up the cube" --seed 7
  groot-ros infer --checkpoint nvidia/GR00T-N1.6-3B --embodiment gr1 --observation seen.npz \\
      --backbone-assets ~/Eagle-Block2A-2B-v2
  groot-ros infer --checkpoint ~/checkpoints/pick --embodiment new_embodiment \\
      --observation seen.npz --robot so101          # state and actions in rad and m
  groot-ros infer --checkpoint ~/checkpoints/pick --embodiment new_embodiment \\
      --observation seen.npz --engine auto --engine-directory engines/pick
  groot-ros infer --checkpoint ~/pick --robot my_arm.yaml --bag ~/bags/run1 --at 4.5 \\
      --save-observation seen.npz

The observation is an npz file: image.<view> uint8 RGB [H, W, 3] or [T, H, W, 3], oldest first;
state.<group> [D] or [T, D]; instruction, a text, needed unless --instruction is given. State and
actions are in the checkpoint's own units, or with --robot in rad and m. With --robot a warning
names the joints whose actions leave the limits of the robot contract.
Bags of `groot-ros bag record` contain the robot contract and, if a policy was running, the
embodiment.
"""

#: Fields of the policy configuration that are options.
_CONFIG = (
    "checkpoint",
    "embodiment",
    "robot",
    "backbone_assets",
    "base_checkpoint",
    "device",
    "engine",
    "engine_directory",
    "allow_unvalidated_engine",
    "dtype",
    "torch_threads",
    "num_inference_steps",
)
#: Largest permitted number of threads per core. More threads than cores only wait for each other,
#: but a few times as many are allowed for experiments.
_THREADS_PER_CORE = 4
#: Permitted excess over a limit due to float32 rounding, rad or m.
_ROUNDING = 1e-5
POSE_COLUMNS = ("x", "y", "z", "r11", "r12", "r13", "r21", "r22", "r23")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros infer`."""
    description = "Compute an action chunk for one observation from a file, without a robot."
    parser = add_command(subparsers, "infer", description, _EXAMPLES)
    add_config_options(
        parser,
        PolicyConfig,
        _CONFIG,
        options={"torch_threads": "threads", "num_inference_steps": "steps"},
        defaults={"embodiment": ""},
        required=("checkpoint",),
    )
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--observation", type=Path, metavar="FILE.npz", help="see below")
    source.add_argument("--bag", type=Path, metavar="DIR", help="bag of a run")
    add("--at", type=float, default=0.0, metavar="S", help="s from the start of --bag (default: 0)")
    add("--namespace", help="namespace of the robot in the bag (default: the only one there)")
    add("--save-observation", type=Path, metavar="FILE.npz", help="save what --bag gave")
    add("--instruction", help="task for the robot (default: the file's own instruction)")
    add("--sample", type=int, metavar="ROW", help="row to use of a file that holds a batch")
    add("--seed", type=int, help="seed of the noise (default: drawn, and printed)")
    add("--runs", type=int, default=1, metavar="N", help="times are medians of N runs (default: 1)")
    add("--out", type=Path, metavar="FILE.npz", help="output (default: OBSERVATION_actions.npz)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compute, print and save the actions; return 1 if the model's output cannot be used."""
    if args.runs < 1:
        raise ValueError(f"--runs must be at least 1, not {args.runs}")
    for option, value, most in (
        ("--threads", args.torch_threads, most_threads()),
        ("--steps", args.num_inference_steps, most_steps()),
    ):
        if not 0 <= value <= most:
            raise ValueError(f"{option} must be from 0 to {most}, not {value}")
    args.embodiment = args.embodiment or _recorded_embodiment(args.bag)
    config = config_from_options(args, PolicyConfig, _CONFIG)
    if args.seed is not None and not 0 <= args.seed < 2**63:
        raise ValueError(f"--seed must be from 0 to 2**63 - 1, not {args.seed}")
    from groot_ros.cli.observations import observation_at
    from groot_ros.core import ns_to_s
    from groot_ros.policy import InferenceError
    from groot_ros.processing.observation_file import read_observation, save_observation
    from groot_ros.runtime.engine import EngineFilesError

    source = args.observation or args.bag
    out = args.out or source.with_name(f"{source.stem}_actions.npz")
    for option, path in (("--out", out), ("--save-observation", args.save_observation)):
        if path is not None:
            require_writable(path, option)
    if args.bag is None:
        if args.save_observation is not None:
            raise ValueError("--save-observation requires --bag")
        observation = read_observation(source, instruction=args.instruction, sample=args.sample)
        if out.exists() and out.samefile(source):
            raise ValueError(f"--out {out}: is the observation itself, which it would overwrite")
    elif not 0.0 <= args.at < math.inf:
        raise ValueError(f"--at must be 0 or more s, not {args.at:g}")
    robot = None
    if args.bag is not None and not config.robot:
        from groot_ros.bags.episode import read_episode

        robot = read_episode(args.bag).robot_contract()
    started = time.perf_counter()
    policy = load(config, robot)
    loading = time.perf_counter() - started
    if args.bag is not None:
        observation = observation_at(
            args.bag, policy, args.at, instruction=args.instruction, namespace=args.namespace
        )
        if args.save_observation is not None:
            save_observation(observation, args.save_observation)
            print(f"observation saved in {args.save_observation}")
    try:
        chunks = [policy.infer(observation, seed=args.seed) for _ in range(args.runs)]
    except InferenceError as error:
        print(f"groot-ros infer: {error}", file=sys.stderr)
        return 1
    except EngineFilesError:
        raise
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    chunk = chunks[-1]
    for note in (*policy.notes, *surplus(policy, observation)):
        print(note)
    first = ns_to_s(chunk.start_ns - chunk.stamp_ns)
    print(describe(policy, chunk))
    if beyond := beyond_limits(chunk, policy.robot):
        print(f"groot-ros infer: warning: {beyond}", file=sys.stderr)
    for group in chunk.groups:
        print(f"\n{format_group(group, first, chunk.dt)}")
    print(f"\n{format_stages(chunks, loading)}")
    save(chunk, out)
    print(f"\nactions saved in {out}")
    return 0


def _recorded_embodiment(bag: Path | None) -> str:
    """Return the embodiment of the chunks in the bag.

    Raises:
        ValueError: there is no bag, or it has no chunks.

    """
    if bag is None:
        raise ValueError("--embodiment is required with --observation")
    from groot_ros.bags.episode import read_episode

    embodiment = read_episode(bag).embodiment
    if not embodiment:
        raise ValueError(f"--embodiment is required: {bag} does not name one")
    return embodiment


def load(config: PolicyConfig, robot: "RobotContract | None" = None) -> "Policy":
    """Load the policy, and show a progress bar while its weights are read.

    Args:
        config: of the policy; names the robot contract.
        robot: used where `config` names none.

    """
    from tqdm import tqdm

    from groot_ros.core.share import robot_path
    from groot_ros.policy import load_policy
    from groot_ros.policy.loading import set_threads
    from groot_ros.robot import load_contract

    if config.robot:
        robot = load_contract(robot_path(config.robot))
    set_threads(config)
    with tqdm(total=100, bar_format="loading {percentage:3.0f}%|{bar}|", disable=None) as bar:

        def show(stage: str, fraction: float) -> None:
            if stage == "weights":
                bar.n = round(100 * fraction)
                bar.refresh()

        return load_policy(config, robot=robot, progress=show)


def require_writable(path: Path, option: str = "--out") -> None:
    """Raise ValueError if `save` could not write the file, before anything slow starts."""
    if path.is_dir():
        raise ValueError(f"{option} {path}: is a directory; name a file in it")
    if not path.parent.is_dir():
        raise ValueError(f"{option} {path}: no such directory {path.parent}; create it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ValueError(f"{option} {path}: may not be written by this user")


def most_steps() -> int:
    """Return the largest number of denoising steps that a policy accepts."""
    declared = {parameter.field_name: parameter for parameter in parameters_of(PolicyConfig)}
    return int(declared["num_inference_steps"].maximum or 0)


def most_threads() -> int:
    """Return the largest number of threads that --threads accepts."""
    return _THREADS_PER_CORE * len(os.sched_getaffinity(0))


def beyond_limits(chunk: "ActionChunk", robot: "RobotContract | None") -> str:
    """Return one line that names the joints whose actions leave the contract's limits, or ""."""
    if robot is None:
        return ""
    phrases = []
    for group in chunk.groups:
        for joint, unit, values in zip(group.names, group.units, group.values.T, strict=False):
            if joint not in robot.joints:
                continue
            limits = robot.joints[joint].limits
            worst = max(values, key=lambda v: max(limits.lower - v, v - limits.upper))
            if max(limits.lower - worst, worst - limits.upper) > _ROUNDING:
                span = f"{limits.lower:.3f} to {limits.upper:.3f}"
                phrases.append(f"{joint} {worst:.3f} {unit} ({span})")
    return f"actions leave the limits of robot {robot.robot}: {', '.join(phrases)}" * bool(phrases)


def surplus(policy: "Policy", observation: "Observation") -> list[str]:
    """Return a note about inputs in the file that the checkpoint does not use, such as a typo."""
    beyond = [f"image.{name}" for name in observation.images if name not in policy.spec.views]
    beyond += [
        f"state.{name}" for name in observation.state if name not in policy.spec.state_groups
    ]
    return [f"not an input of this checkpoint, ignored: {', '.join(beyond)}"] if beyond else []


def describe(policy: "Policy", chunk: "ActionChunk") -> str:
    """Return a description of the checkpoint, the device and the inference, on two lines."""
    robot = "" if policy.robot is None else f", robot {policy.robot.robot}"
    return (
        f"embodiment {chunk.embodiment}{robot}, checkpoint {chunk.checkpoint_hash[:12]}, "
        f"on {policy.device}, {policy.memory_bytes / 1e6:.1f} MB\n"
        f"'{chunk.instruction}', seed {chunk.noise_seed}, "
        f"{pluralise(policy.num_inference_steps, 'denoising step')}, "
        f"{pluralise(chunk.horizon, 'action')} every {chunk.dt:.4g} s"
    )


def format_group(group: "ActionGroup", first: float, dt: float) -> str:
    """Return a table of one group's targets.

    Args:
        group: targets in rad and m with a robot contract, else in the checkpoint's units.
        first: time from the observation to the first target, s.
        dt: time between targets, s.

    """
    units = sorted(set(group.units))
    names = group.names if len(group.names) == group.width else POSE_COLUMNS
    header = [f"{group.name} [{', '.join(units)}]", "t s", *names]
    rows = [
        [str(step), f"{first + step * dt:.3f}", *[f"{value:.4f}" for value in values]]
        for step, values in enumerate(group.values)
    ]
    return format_table(header, rows)


def format_stages(chunks: "list[ActionChunk]", loading: float) -> str:
    """Return a table of the median time of every stage and of the loading time, in ms.

    Args:
        chunks: chunks of all runs.
        loading: time to load the policy, s.

    """
    stages = {
        name: float(np.median([chunk.stage_seconds[name] for chunk in chunks]))
        for name in chunks[0].stage_seconds
    }
    rows = [[name, f"{1e3 * seconds:.1f}"] for name, seconds in stages.items()]
    rows.append(["total", f"{1e3 * sum(stages.values()):.1f}"])
    rows.append(["loading", f"{1e3 * loading:.0f}"])
    return format_table(["stage", "ms"], rows)


def save(chunk: "ActionChunk", path: Path) -> None:
    """Save action.<group> [H, D], names.<group>, units.<group> and dt as an npz file.

    The file also has the instruction, the seed, the embodiment and the checkpoint's hash.
    """
    arrays: dict[str, Any] = {}
    for group in chunk.groups:
        arrays[f"action.{group.name}"] = group.values
        arrays[f"names.{group.name}"] = np.array(group.names)
        arrays[f"units.{group.name}"] = np.array(group.units)
    # savez appends .npz to a name, but not to an open file.
    with path.open("wb") as file:
        np.savez(
            file,
            dt=chunk.dt,
            instruction=chunk.instruction,
            seed=chunk.noise_seed,
            embodiment=chunk.embodiment,
            checkpoint=chunk.checkpoint_hash,
            **arrays,
        )
