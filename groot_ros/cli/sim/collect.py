# SPDX-License-Identifier: Apache-2.0
"""`groot-ros sim collect`: record episodes of the scripted experts."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from groot_ros.cli import pluralise
from groot_ros.cli.config_options import add_config_options
from groot_ros.cli.sim.common import (
    CHUNKS_ONLY,
    CONFIG,
    EXECUTION,
    OPTIONS,
    PROMPTS_ONLY,
    add_common,
    add_execution_options,
    check_counts,
    check_delay,
    execution_settings,
    is_prompt_task,
    option,
    parallel_options,
    policy_options,
    reject,
    size_option,
)
from groot_ros.core import PolicyConfig

if TYPE_CHECKING:
    from groot_ros.rollout.collect import CollectSettings


def add(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros sim collect`."""
    parser = actions.add_parser(
        "collect",
        help="record episodes of the scripted expert as a data set",
        description="Record episodes of the scripted expert: as a LeRobot v2.1 data set, with "
        "--bags as one bag per episode, or for tasks vima/... as one npz file per episode.",
    )
    add_common(parser, episodes=100)
    parser.add_argument("--out", type=Path, required=True, help="folder; must not exist yet")
    parser.add_argument(
        "--calm", action="store_true", help="no disturbances: noise, moved cubes, dropped cubes"
    )
    parser.add_argument(
        "--checkpoint",
        default="",
        metavar="DIR",
        help="let this policy act first, for a random time; the expert takes over and only its "
        "rows are recorded",
    )
    add_execution_options(parser)
    parser.add_argument(
        "--bags",
        action="store_true",
        help="record the topics of the simulated robot over DDS into one bag per episode, which "
        "`groot-ros dataset from-bags` converts to the same rows",
    )
    parser.add_argument(
        "--images",
        action="store_true",
        help="tasks vima/...: write the images as well as the objects that are cut out of them",
    )
    add_config_options(parser, PolicyConfig, CONFIG, options=OPTIONS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Collect; return 1 if an episode could not be recorded."""
    import groot_ros.sim  # noqa: F401 - chooses the rendering backend before mujoco is imported
    from groot_ros.rollout.collect import CollectSettings, collect
    from groot_ros.sim.disturbance import UNDISTURBED, DisturbanceSettings

    check_counts(args)
    if is_prompt_task(args):
        return _collect_prompts(args)
    reject(args, PROMPTS_ONLY)
    if not args.checkpoint:
        for name, default in EXECUTION.items():
            if getattr(args, name) != default:
                raise ValueError(
                    f"{option(name)} is how a policy acts: give --checkpoint, or leave it out"
                )
    size = size_option(args.size)
    if size[0] % 2 or size[1] % 2:
        raise ValueError(f"--size {args.size}: the videos of a data set need even numbers")
    settings = CollectSettings(
        task=args.task,
        seed=args.seed,
        size=size,
        disturbances=UNDISTURBED if args.calm else DisturbanceSettings(),
        checkpoint=args.checkpoint,
        policy_options=policy_options(args),
        loop=execution_settings(args),
    )
    check_delay(settings.task, settings.loop)
    if args.bags:
        return _collect_bags(args, settings)
    collection = collect(settings, args.episodes, args.out, jobs=args.jobs, dask=args.dask)
    cause = "the policy left nothing to do, or the expert" if args.checkpoint else "the expert"
    print(
        f"{args.out}: {pluralise(len(collection.episodes), 'episode')}, "
        f"{pluralise(collection.rows, 'row')}; {cause} failed in "
        f"{pluralise(collection.failures, 'scene')}, which others replaced"
    )
    if collection.left_out:
        print(
            f"{pluralise(collection.left_out, 'episode')} fewer than asked for: the policy left "
            "nothing to do in the scenes that were tried"
        )
    return 1 if collection.failed else 0


def _collect_bags(args: argparse.Namespace, settings: "CollectSettings") -> int:
    from groot_ros.bridge.isolated_domain import use_isolated_domain
    from groot_ros.bringup.sim_collection import collect_bags

    for name in ("checkpoint", *parallel_options(args)):
        if getattr(args, name):
            raise ValueError(
                f"--{name}: with --bags the expert acts alone, in one episode after the other"
            )
    use_isolated_domain()
    try:
        collection = collect_bags(settings, args.episodes, args.out)
    except RuntimeError as error:
        print(f"groot-ros sim: {error}", file=sys.stderr)
        return 1
    stopped = "stopped; " if collection.stopped else ""
    print(
        f"{args.out}: {stopped}{pluralise(len(collection.bags), 'bag')}, "
        f"{pluralise(collection.rows, 'row')}; the expert failed in "
        f"{pluralise(collection.failures, 'scene')}, which others replaced"
    )
    for index in collection.failed:
        print(f"episode {index}: the expert failed in all scenes that were tried", file=sys.stderr)
    if collection.stopped:
        return 130
    return 1 if collection.failed else 0


def _collect_prompts(args: argparse.Namespace) -> int:
    from groot_ros.rollout.prompt_collect import PromptCollectSettings, collect_prompts

    reject(args, {**CHUNKS_ONLY, "checkpoint": "", "bags": False})
    settings = PromptCollectSettings(args.task, args.seed, args.images)
    collection = collect_prompts(settings, args.episodes, args.out, jobs=args.jobs, dask=args.dask)
    print(
        f"{args.out}: {pluralise(collection.episodes, 'episode')}, "
        f"{pluralise(collection.steps, 'action')}; {pluralise(collection.failures, 'scene')}, in "
        "which the expert failed or a view hid an object, were replaced"
    )
    return 1 if collection.failed else 0
