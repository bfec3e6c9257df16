# SPDX-License-Identifier: Apache-2.0
"""Options that the actions of `groot-ros sim` share."""

import argparse
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from groot_ros.cli import add_parallel_options
from groot_ros.cli.config_options import config_from_options
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import PolicyConfig
from groot_ros.core.config import parameters_of
from groot_ros.core.node_config import SimRobotConfig

if TYPE_CHECKING:
    from groot_ros.rollout.closed_loop import LoopSettings

#: Fields of the policy configuration that are options of a checkpoint.
CONFIG = (
    *("embodiment", "backbone_assets", "base_checkpoint", "device", "engine", "dtype"),
    "num_inference_steps",
)

#: Names of options where they differ from the fields.
OPTIONS = {"num_inference_steps": "steps"}

#: How the chunks of a policy are executed: names of options, and their defaults.
EXECUTION: Mapping[str, Any] = {
    "rate": 4.0,
    "delay": 0.0,
    "rtc_mode": "off",
    "blend_window": ExecutorConfig().blend_window,
}

#: Options -> the parameters of the nodes that state their ranges.
_RANGES: Mapping[str, str] = {
    "rate": "rate_hz",
    "delay": "added_delay",
    "joint_offset": "joint_offset",
    "camera_shift": "camera_shift",
}

#: Options of policies whose actions are chunks, and their defaults.
CHUNKS_ONLY: Mapping[str, Any] = {
    "size": None,
    "calm": False,
    "videos": None,
    **EXECUTION,
    "dropout": 0.0,
    "joint_offset": 0.0,
    "camera_shift": 0.0,
    "sweep": [],
    "real_nodes": False,
    "lockstep": False,
}

#: Options of the tasks vima/..., and their defaults.
PROMPTS_ONLY: Mapping[str, Any] = {"images": False, "level": None, "no_arm": False}


def add_common(parser: argparse.ArgumentParser, episodes: int) -> None:
    """Add the options of both actions; `episodes` is the default."""
    add = parser.add_argument
    add(
        "--task",
        required=True,
        help="reach, push, pick_place or vima/...: see `docs/how-to/simulator.md`",
    )
    add("--episodes", type=int, default=episodes, metavar="N", help=f"(default: {episodes})")
    add("--seed", type=int, default=0, metavar="S", help="of the scenes (default: 0)")
    add(
        "--size",
        metavar="WxH",
        help="of the images (default: 128x128; those of vima/... always have 256x128)",
    )
    add_parallel_options(parser)


def check_range(name: str, value: float) -> None:
    """Raise ValueError if the value of an option, or of a sweep, is out of range."""
    for parameter in (*parameters_of(PolicyConfig), *parameters_of(SimRobotConfig)):
        if parameter.field_name == _RANGES.get(name):
            problem = replace(parameter, name=option(name)).problem(value)
            if problem:
                raise ValueError(f"{problem} {parameter.unit}".strip())


def add_execution_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of how the chunks of a policy are executed."""
    add = parser.add_argument
    default = EXECUTION
    add(
        "--rate",
        type=float,
        default=default["rate"],
        metavar="HZ",
        help="inferences per second (default: %(default)g)",
    )
    add(
        "--delay",
        type=float,
        default=default["delay"],
        metavar="S",
        help="inference delay (default: %(default)g)",
    )
    add(
        "--rtc-mode",
        choices=("off", "native", "guided"),
        default=default["rtc_mode"],
        help="real-time chunking (default: %(default)s)",
    )
    add(
        "--blend-window",
        type=float,
        default=default["blend_window"],
        metavar="S",
        help="time over which chunks are blended; 0 replaces them (default: %(default)s)",
    )


def execution_settings(args: argparse.Namespace) -> "LoopSettings":
    """Return the settings of `add_execution_options`; ValueError if one is out of range."""
    from groot_ros.rollout.closed_loop import LoopSettings

    check_range("rate", args.rate)
    check_range("delay", args.delay)
    return LoopSettings(
        rate_hz=args.rate,
        delay=args.delay,
        rtc_mode=args.rtc_mode,
        executor=ExecutorConfig(blend_window=args.blend_window),
    )


def check_delay(task: str, loop: "LoopSettings") -> None:
    """Raise ValueError if an episode of a task would be over before its first chunk arrives."""
    from groot_ros.sim.tasks import load_table_task

    seconds = load_table_task(task).seconds
    if loop.delay >= seconds:
        raise ValueError(
            f"--delay {loop.delay:g} s: no chunk would arrive, as an episode of {task} takes "
            f"at most {seconds:g} s"
        )


def policy_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of PolicyConfig that differ from their defaults."""
    config, default = config_from_options(args, PolicyConfig, CONFIG), PolicyConfig()
    given = {name: getattr(config, name) for name in CONFIG}
    changed = {name: value for name, value in given.items() if value != getattr(default, name)}
    if changed and not args.checkpoint:
        name = option(next(iter(changed)))
        raise ValueError(f"{name} belongs to a checkpoint: give --checkpoint, or leave it out")
    # The episodes run in several processes, so that one thread each is fastest.
    return {**changed, "torch_threads": 1}


def option(name: str) -> str:
    """Return the option of a field or an argument."""
    return f"--{OPTIONS.get(name, name.replace('_', '-'))}"


def is_prompt_task(args: argparse.Namespace) -> bool:
    """Return whether the prompts of the task have pictures; ValueError if there is no such task."""
    from groot_ros.sim.tasks import prompt_task_names, table_task_names

    names = (*table_task_names(), *prompt_task_names())
    if args.task not in names:
        raise ValueError(
            f"there is no task '{args.task}' with an expert (tasks: {', '.join(names)})"
        )
    return args.task in prompt_task_names()


def reject(args: argparse.Namespace, options: Mapping[str, Any]) -> None:
    """Raise ValueError if an option that the task does not have is not at its default.

    Of the policy configuration, the tasks with prompts have `backbone_assets` only.
    """
    if options is not PROMPTS_ONLY:
        policy = {field.name: field.default for field in fields(PolicyConfig)}
        others = [name for name in CONFIG if name != "backbone_assets"]
        options = {**options, **{name: policy[name] for name in others}}
    for name, default in options.items():
        if getattr(args, name, default) != default:
            raise ValueError(f"{option(name)}: task {args.task} has no such option")


def check_counts(args: argparse.Namespace) -> None:
    """Raise ValueError if --episodes or --seed is too small."""
    if args.episodes < 1:
        raise ValueError(f"--episodes must be at least 1, not {args.episodes}")
    if args.seed < 0:
        raise ValueError(f"--seed must not be negative, not {args.seed}")


def parallel_options(args: argparse.Namespace) -> list[str]:
    """Return the names of the options that ask for several episodes at a time."""
    given = {"jobs": args.jobs not in (None, 1), "dask": bool(args.dask)}
    return [name for name, several in given.items() if several]


def size_option(text: str | None) -> tuple[int, int]:
    """Return (width, height) of --size, px."""
    if text is None:
        return 128, 128
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ValueError(f"--size must be WIDTHxHEIGHT in pixels, such as 128x128, not '{text}'")
    return int(width), int(height)
