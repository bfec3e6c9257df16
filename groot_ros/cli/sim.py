# SPDX-License-Identifier: Apache-2.0
"""`groot-ros sim`: collect data of scripted experts in the simulator, and judge policies in it."""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ros.cli import add_actions, add_command, add_parallel_options, pluralise
from groot_ros.cli.config_options import add_config_options, config_from_options
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core import MAX_INFERENCE_STEPS, PolicyConfig

if TYPE_CHECKING:
    from groot_ros.rollout.collect import CollectSettings
    from groot_ros.rollout.evaluate import Evaluation, EvaluationSettings

_EXAMPLES = """examples:
  groot-ros sim collect --task reach --episodes 200 --out ~/data/reach
  groot-ros sim collect --task reach --episodes 100 --checkpoint ~/reach --out ~/data/round1
  groot-ros sim collect --task push --episodes 50 --bags --out ~/bags/push
  groot-ros sim collect --task vima/put_into --episodes 5000 --out ~/data/put_into
  groot-ros sim evaluate --task pick_place --episodes 100 --policy expert
  groot-ros sim evaluate --task reach --episodes 100 --checkpoint ~/reach --json reach.json
  groot-ros sim evaluate --task reach --episodes 40 --checkpoint ~/reach --sweep delay=0,0.1,0.2,0.4
  groot-ros sim evaluate --task reach --episodes 100 --checkpoint ~/reach --sweep steps=1,2,4
  groot-ros sim evaluate --task reach --episodes 5 --checkpoint ~/reach --real-nodes --lockstep
  groot-ros sim evaluate --task push --episodes 10 --checkpoint ~/push --videos out/failures
  groot-ros sim evaluate --task vima/rotate --level combination --episodes 100 --checkpoint ~/vima

Scenes of `evaluate` are never scenes of `collect`, whatever the seeds.
Exit status: 0 done; 1 an episode could not be run; 2 wrong usage.
"""
#: Fields of the policy configuration that are options of a checkpoint.
_CONFIG = (
    *("embodiment", "backbone_assets", "base_checkpoint", "device", "engine", "dtype"),
    "num_inference_steps",
)
#: Names of options where they differ from the fields.
_OPTIONS = {"num_inference_steps": "steps"}
#: Options of policies whose actions are chunks, and their defaults.
_CHUNKS_ONLY: Mapping[str, Any] = {
    "size": None,
    "calm": False,
    "videos": None,
    "rate": 4.0,
    "delay": 0.0,
    "rtc_mode": "off",
    "blend_window": ExecutorConfig().blend_window,
    "dropout": 0.0,
    "joint_offset": 0.0,
    "camera_shift": 0.0,
    "sweep": [],
    "real_nodes": False,
    "lockstep": False,
}
#: Options of the tasks vima/..., and their defaults.
_PROMPTS_ONLY: Mapping[str, Any] = {"images": False, "level": None, "no_arm": False}
#: What can be swept: name -> (unit, description).
_SWEEPS = {
    "delay": ("s", "inference delay"),
    "dropout": ("", "share of lost camera frames"),
    "joint-offset": ("rad", "error of the encoders"),
    "camera-shift": ("m", "distance by which the cameras were moved"),
    "steps": ("", "denoising steps of the policy"),
}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros sim`."""
    parser = add_command(
        subparsers, "sim", "Collect data in the simulator, and judge policies in it.", _EXAMPLES
    )
    actions = add_actions(parser)
    _add_collect(actions)
    _add_evaluate(actions)


def _add_collect(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser(
        "collect",
        help="record episodes of the scripted expert as a data set",
        description="Record episodes of the scripted expert: as a LeRobot v2.1 data set, with "
        "--bags as one bag per episode, or for tasks vima/... as one npz file per episode.",
    )
    _add_common(parser, episodes=100)
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
    add_config_options(parser, PolicyConfig, _CONFIG, options=_OPTIONS)
    parser.set_defaults(run=run_collect)


def _add_evaluate(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser(
        "evaluate",
        help="success of a policy in unseen scenes",
        description="Run a policy in unseen scenes of a task and print its success.",
    )
    _add_common(parser, episodes=100)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--checkpoint", default="", metavar="DIR", help="checkpoint to judge")
    which.add_argument("--policy", choices=("expert",), help="judge the scripted expert instead")
    add = parser.add_argument
    add("--json", type=Path, metavar="FILE", help="write all figures and outcomes to a file")
    add("--videos", type=Path, metavar="DIR", help="write a video of each failure")
    add("--rate", type=float, default=4.0, metavar="HZ", help="inferences per second (default: 4)")
    add("--delay", type=float, default=0.0, metavar="S", help="inference delay (default: 0)")
    add(
        "--rtc-mode",
        choices=("off", "native", "guided"),
        default="off",
        help="real-time chunking (default: off)",
    )
    add(
        "--blend-window",
        type=float,
        default=ExecutorConfig().blend_window,
        metavar="S",
        help="time over which chunks are blended; 0 replaces them (default: %(default)s)",
    )
    add("--dropout", type=float, default=0.0, metavar="SHARE", help="share of lost camera frames")
    add("--joint-offset", type=float, default=0.0, metavar="RAD", help="error of the encoders")
    add("--camera-shift", type=float, default=0.0, metavar="M", help="move the cameras this far")
    add(
        "--sweep",
        action="append",
        default=[],
        metavar="NAME=A,B,...",
        help="evaluate once for each value; "
        + "; ".join(
            f"{name} ({text}{f', {unit}' if unit else ''})"
            for name, (unit, text) in _SWEEPS.items()
        ),
    )
    add(
        "--real-nodes",
        action="store_true",
        help="through the nodes over DDS, in real time, instead of in one process",
    )
    add(
        "--lockstep",
        action="store_true",
        help="with --real-nodes: simulated time waits for the nodes, whatever the machine's load",
    )
    add(
        "--level",
        choices=("placement", "combination"),
        help="tasks vima/...: unseen placements (default), or also shapes with unseen textures",
    )
    add(
        "--no-arm",
        action="store_true",
        help="tasks vima/...: put objects where the arm would put them, which is faster",
    )
    add_config_options(parser, PolicyConfig, _CONFIG, options=_OPTIONS)
    parser.set_defaults(run=run_evaluate)


def _add_common(parser: argparse.ArgumentParser, episodes: int) -> None:
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


def run_collect(args: argparse.Namespace) -> int:
    """Collect; return 1 if an episode could not be recorded."""
    import groot_ros.sim  # noqa: F401 - chooses the rendering backend before mujoco is imported
    from groot_ros.rollout.collect import CollectSettings, collect
    from groot_ros.sim.disturbance import UNDISTURBED, DisturbanceSettings

    _check_counts(args)
    if _is_prompt_task(args):
        return _collect_prompts(args)
    _reject(args, _PROMPTS_ONLY)
    settings = CollectSettings(
        task=args.task,
        seed=args.seed,
        size=_size(args.size),
        disturbances=UNDISTURBED if args.calm else DisturbanceSettings(),
        checkpoint=args.checkpoint,
        policy_options=_policy_options(args),
    )
    if args.bags:
        return _collect_bags(args, settings)
    collection = collect(settings, args.episodes, args.out, jobs=args.jobs, dask=args.dask)
    cause = "the policy left nothing to do, or the expert" if args.checkpoint else "the expert"
    print(
        f"{args.out}: {pluralise(len(collection.episodes), 'episode')}, "
        f"{pluralise(collection.rows, 'row')}; {cause} failed in "
        f"{pluralise(collection.failures, 'scene')}, which others replaced"
    )
    return 1 if collection.failed else 0


def _collect_bags(args: argparse.Namespace, settings: "CollectSettings") -> int:
    from groot_ros.bridge.isolated_domain import use_isolated_domain
    from groot_ros.bringup.sim_collection import collect_bags

    for name in ("checkpoint", *_parallel(args)):
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

    _reject(args, {**_CHUNKS_ONLY, "checkpoint": "", "bags": False})
    settings = PromptCollectSettings(args.task, args.seed, args.images)
    collection = collect_prompts(settings, args.episodes, args.out, jobs=args.jobs, dask=args.dask)
    print(
        f"{args.out}: {pluralise(collection.episodes, 'episode')}, "
        f"{pluralise(collection.steps, 'action')}; {pluralise(collection.failures, 'scene')}, in "
        "which the expert failed or a view hid an object, were replaced"
    )
    return 1 if collection.failed else 0


def run_evaluate(args: argparse.Namespace) -> int:
    """Evaluate; return 1 if an episode could not be run."""
    import groot_ros.sim  # noqa: F401 - chooses the rendering backend before mujoco is imported
    from groot_ros.rollout.closed_loop import LoopSettings
    from groot_ros.rollout.evaluate import EXPERT, EvaluationSettings, evaluate, to_json

    _check_counts(args)
    if _is_prompt_task(args):
        return _evaluate_prompts(args)
    _reject(args, _PROMPTS_ONLY)
    if args.lockstep and not args.real_nodes:
        raise ValueError("--lockstep is a way to run the nodes: add --real-nodes")
    if args.real_nodes and (parallel := _parallel(args)):
        raise ValueError(f"--{parallel[0]}: with --real-nodes one episode runs after the other")
    if args.rate <= 0:
        raise ValueError(f"--rate must be positive, not {args.rate:g}")
    base = EvaluationSettings(
        task=args.task,
        policy=args.checkpoint or EXPERT,
        policy_options=_policy_options(args),
        seed=args.seed,
        size=_size(args.size),
        loop=LoopSettings(
            rate_hz=args.rate,
            delay=args.delay,
            rtc_mode=args.rtc_mode,
            executor=ExecutorConfig(blend_window=args.blend_window),
            camera_dropout=args.dropout,
            joint_offset=args.joint_offset,
        ),
        camera_shift=args.camera_shift,
        videos=args.videos,
    )
    conditions = _swept(args, base) if args.sweep else {"": base}
    _check_outputs(args)
    found: dict[str, dict[str, Any]] = {}
    failed = 0
    for name, settings in conditions.items():
        label = f"{args.task} {name}".strip()
        if args.real_nodes:
            try:
                evaluation = _through_nodes(settings, args.episodes, label, args.lockstep)
            except RuntimeError as error:
                print(f"groot-ros sim: {error}", file=sys.stderr)
                return 1
        else:
            evaluation = evaluate(
                settings, args.episodes, jobs=args.jobs, dask=args.dask, label=label
            )
        found[name] = to_json(settings, evaluation)
        failed += len(evaluation.failed)
        print(f"{label}: {_summary(evaluation)}", flush=True)
    _write_json(args, found.get("", {"task": args.task, "conditions": found}))
    if args.videos is not None:
        failures = sum(len(each["outcomes"]) - each["successes"] for each in found.values())
        print(f"videos of failures: {args.videos if failures else 'none'}")
    return _exit_status(failed)


def _evaluate_prompts(args: argparse.Namespace) -> int:
    from groot_ros.rollout.evaluate import EXPERT
    from groot_ros.rollout.prompt_evaluate import (
        PromptEvaluationSettings,
        evaluate_prompts,
        prompts_to_json,
    )

    _reject(args, _CHUNKS_ONLY)
    settings = PromptEvaluationSettings(
        task=args.task,
        policy=args.checkpoint or EXPERT,
        assets=args.backbone_assets,
        level=args.level or "placement",
        seed=args.seed,
        with_arm=not args.no_arm,
    )
    _check_outputs(args)
    evaluation = evaluate_prompts(settings, args.episodes, jobs=args.jobs, dask=args.dask)
    figures = evaluation.summary()
    low, high = figures["success_interval_95"]
    rejected = sum(bool(outcome.rejections) for outcome in evaluation.outcomes)
    print(
        f"{args.task}, {settings.level}: {figures['success_rate']:.0%} of "
        f"{pluralise(figures['episodes'], 'scene')} (95 %: {low:.0%} to {high:.0%}); an action was "
        f"rejected in {rejected}; another object moved in {figures['wrong_touch_rate']:.0%}"
    )
    _write_json(args, prompts_to_json(settings, evaluation))
    return _exit_status(len(evaluation.failed))


def _write_json(args: argparse.Namespace, figures: Mapping[str, Any]) -> None:
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _exit_status(failed: int) -> int:
    if failed:
        print(f"{pluralise(failed, 'episode')} could not be run, see above", file=sys.stderr)
    return 1 if failed else 0


def _through_nodes(
    settings: "EvaluationSettings", episodes: int, label: str, lockstep: bool
) -> "Evaluation":
    from groot_ros.bridge.isolated_domain import use_isolated_domain
    from groot_ros.bringup.sim_evaluation import evaluate_lockstep, evaluate_nodes

    use_isolated_domain()
    return (evaluate_lockstep if lockstep else evaluate_nodes)(settings, episodes, label)


def _summary(evaluation: "Evaluation") -> str:
    figures = evaluation.summary()
    low, high = figures["success_interval_95"]
    seconds = figures["seconds_to_success"]
    after = f", after {seconds['median']:.1f} s (median)" if seconds else ""
    return (
        f"{figures['success_rate']:.0%} of {pluralise(figures['episodes'], 'scene')} "
        f"(95 %: {low:.0%} to {high:.0%}){after}; another cube touched in "
        f"{figures['wrong_touch_rate']:.0%}; no chunk in {figures['no_chunk']}"
    )


def _swept(args: argparse.Namespace, base: "EvaluationSettings") -> dict[str, "EvaluationSettings"]:
    """Return "name=value" -> settings, for each value of each sweep; each has its own videos."""
    from groot_ros.rollout.evaluate import EXPERT

    conditions = {}
    for sweep in args.sweep:
        name, _, values = sweep.partition("=")
        if name not in _SWEEPS or not values:
            raise ValueError(
                f"--sweep {sweep}: must be NAME=A,B,... with a NAME of {', '.join(_SWEEPS)}"
            )
        field = "num_inference_steps" if name == "steps" else name.replace("-", "_")
        if fixed := getattr(args, field):
            raise ValueError(f"--sweep {sweep}: leave out --{name} {fixed:g}, or this sweep")
        for text in values.split(","):
            try:
                value = float(text)
            except ValueError:
                raise ValueError(f"--sweep {sweep}: '{text}' is not a number") from None
            changes: Mapping[str, Any] = {
                "delay": {"delay": value},
                "dropout": {"camera_dropout": value},
                "joint-offset": {"joint_offset": value},
            }.get(name, {})
            own = replace(base, loop=replace(base.loop, **changes))
            if name == "camera-shift":
                own = replace(own, camera_shift=value)
            if name == "steps":
                if base.policy == EXPERT:
                    raise ValueError(f"--sweep {sweep}: the expert has no denoising steps")
                options = {**base.policy_options, "num_inference_steps": _steps(sweep, value)}
                own = replace(own, policy_options=options)
            condition = f"{name}={text}"
            if args.videos is not None:
                own = replace(own, videos=args.videos / condition)
            conditions[condition] = own
    return conditions


def _steps(sweep: str, value: float) -> int:
    if not 1 <= value <= MAX_INFERENCE_STEPS or value != int(value):
        raise ValueError(
            f"--sweep {sweep}: steps are whole numbers from 1 to {MAX_INFERENCE_STEPS}, "
            f"not {value:g}"
        )
    return int(value)


def _policy_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of PolicyConfig that differ from their defaults."""
    config, default = config_from_options(args, PolicyConfig, _CONFIG), PolicyConfig()
    given = {name: getattr(config, name) for name in _CONFIG}
    changed = {name: value for name, value in given.items() if value != getattr(default, name)}
    if changed and not args.checkpoint:
        option = _option(next(iter(changed)))
        raise ValueError(f"{option} belongs to a checkpoint: give --checkpoint, or leave it out")
    # The episodes run in several processes, so that one thread each is fastest.
    return {**changed, "torch_threads": 1}


def _option(name: str) -> str:
    """Return the option of a field or an argument."""
    return f"--{_OPTIONS.get(name, name.replace('_', '-'))}"


def _is_prompt_task(args: argparse.Namespace) -> bool:
    """Return whether the prompts of the task have pictures; ValueError if there is no such task."""
    from groot_ros.sim.tasks import prompt_task_names, table_task_names

    names = (*table_task_names(), *prompt_task_names())
    if args.task not in names:
        raise ValueError(
            f"there is no task '{args.task}' with an expert (tasks: {', '.join(names)})"
        )
    return args.task in prompt_task_names()


def _reject(args: argparse.Namespace, options: Mapping[str, Any]) -> None:
    """Raise ValueError if an option that the task does not have is not at its default.

    Of the policy configuration, the tasks with prompts have `backbone_assets` only.
    """
    if options is not _PROMPTS_ONLY:
        policy = {field.name: field.default for field in fields(PolicyConfig)}
        others = [name for name in _CONFIG if name != "backbone_assets"]
        options = {**options, **{name: policy[name] for name in others}}
    for name, default in options.items():
        if getattr(args, name, default) != default:
            raise ValueError(f"{_option(name)}: task {args.task} has no such option")


def _check_counts(args: argparse.Namespace) -> None:
    if args.episodes < 1:
        raise ValueError(f"--episodes must be at least 1, not {args.episodes}")
    if args.seed < 0:
        raise ValueError(f"--seed must not be negative, not {args.seed}")


def _parallel(args: argparse.Namespace) -> list[str]:
    """Return the names of the options that ask for several episodes at a time."""
    given = {"jobs": args.jobs not in (None, 1), "dask": bool(args.dask)}
    return [name for name, several in given.items() if several]


def _check_outputs(args: argparse.Namespace) -> None:
    """Raise ValueError if a result could not be written, before the episodes run."""
    if args.json is not None and args.json.is_dir():
        raise ValueError(f"--json {args.json} is a directory: give a file")
    for name, path in (("json", args.json and args.json.parent), ("videos", args.videos)):
        if path is None:
            continue
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"--{name}: {path} cannot be a directory: {error.strerror}") from error


def _size(text: str | None) -> tuple[int, int]:
    if text is None:
        return 128, 128
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise ValueError(f"--size must be WIDTHxHEIGHT in pixels, such as 128x128, not '{text}'")
    return int(width), int(height)
