# SPDX-License-Identifier: Apache-2.0
"""`groot-ros sim evaluate`: success of a policy in unseen scenes."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ros.cli import pluralise
from groot_ros.cli.config_options import add_config_options
from groot_ros.cli.sim.common import (
    CHUNKS_ONLY,
    CONFIG,
    OPTIONS,
    PROMPTS_ONLY,
    add_common,
    add_execution_options,
    check_counts,
    check_delay,
    check_range,
    execution_settings,
    is_prompt_task,
    parallel_options,
    policy_options,
    reject,
    size_option,
)
from groot_ros.core import MAX_INFERENCE_STEPS, PolicyConfig

if TYPE_CHECKING:
    from groot_ros.rollout.evaluate import Evaluation, EvaluationSettings

#: What can be swept: name -> (unit, description).
_SWEEPS = {
    "delay": ("s", "inference delay"),
    "dropout": ("", "share of lost camera frames"),
    "joint-offset": ("rad", "error of the encoders"),
    "camera-shift": ("m", "distance by which the cameras were moved"),
    "steps": ("", "denoising steps of the policy"),
}


def add(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros sim evaluate`."""
    parser = actions.add_parser(
        "evaluate",
        help="success of a policy in unseen scenes",
        description="Run a policy in unseen scenes of a task and print its success.",
    )
    add_common(parser, episodes=100)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--checkpoint", default="", metavar="DIR", help="checkpoint to judge")
    which.add_argument("--policy", choices=("expert",), help="judge the scripted expert instead")
    add = parser.add_argument
    add("--json", type=Path, metavar="FILE", help="write all figures and outcomes to a file")
    add("--videos", type=Path, metavar="DIR", help="write a video of each failure")
    add_execution_options(parser)
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
    add_config_options(parser, PolicyConfig, CONFIG, options=OPTIONS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate; return 1 if an episode could not be run."""
    import groot_ros.sim  # noqa: F401 - chooses the rendering backend before mujoco is imported
    from groot_ros.rollout.evaluate import EXPERT, EvaluationSettings, evaluate, to_json

    check_counts(args)
    if is_prompt_task(args):
        return _evaluate_prompts(args)
    reject(args, PROMPTS_ONLY)
    if args.lockstep and not args.real_nodes:
        raise ValueError("--lockstep is a way to run the nodes: add --real-nodes")
    if args.real_nodes and (parallel := parallel_options(args)):
        raise ValueError(f"--{parallel[0]}: with --real-nodes one episode runs after the other")
    check_range("joint_offset", args.joint_offset)
    check_range("camera_shift", args.camera_shift)
    base = EvaluationSettings(
        task=args.task,
        policy=args.checkpoint or EXPERT,
        policy_options=policy_options(args),
        seed=args.seed,
        size=size_option(args.size),
        loop=replace(
            execution_settings(args), camera_dropout=args.dropout, joint_offset=args.joint_offset
        ),
        camera_shift=args.camera_shift,
        videos=args.videos,
    )
    conditions = _swept(args, base) if args.sweep else {"": base}
    for settings in conditions.values():
        check_delay(settings.task, settings.loop)
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
        # After each condition: those of a long sweep are not lost if it is stopped.
        _write_json(args, found.get("", {"task": args.task, "conditions": found}))
    if args.videos is not None:
        failures = sum(len(each["outcomes"]) - each["successes"] for each in found.values())
        print(f"videos of failures: {args.videos if failures else 'none'}")
        for name in conditions:
            folder = args.videos / name
            if name and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    return _exit_status(failed)


def _evaluate_prompts(args: argparse.Namespace) -> int:
    from groot_ros.rollout.evaluate import EXPERT
    from groot_ros.rollout.prompt_evaluate import (
        PromptEvaluationSettings,
        evaluate_prompts,
        prompts_to_json,
    )

    reject(args, CHUNKS_ONLY)
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
        f"{_rejections(evaluation)}"
    )


def _rejections(evaluation: "Evaluation") -> str:
    """Return why no chunk was executed in some scenes, by the codes of docs/reference/faults.md."""
    counts: Counter[str] = Counter()
    for outcome in evaluation.outcomes:
        if outcome.chunks == 0:
            counts.update(outcome.rejections)
    reasons = ", ".join(f"{code} {number} times" for code, number in counts.most_common())
    return f" (rejected: {reasons})" if reasons else ""


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
            check_range(field, value)
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


def _check_outputs(args: argparse.Namespace) -> None:
    """Raise ValueError if a result cannot be written, before the episodes run."""
    if args.json is not None and args.json.is_dir():
        raise ValueError(f"--json {args.json} is a directory: give a file")
    for name, path in (("json", args.json and args.json.parent), ("videos", args.videos)):
        if path is None:
            continue
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"--{name}: {path} cannot be a directory: {error.strerror}") from error
    if args.json is not None:
        exists = args.json.exists()
        try:
            with args.json.open("a", encoding="utf-8"):
                pass
        except OSError as error:
            raise ValueError(f"--json: {args.json} cannot be written: {error.strerror}") from error
        if not exists:
            args.json.unlink()


def _exit_status(failed: int) -> int:
    if failed:
        print(f"{pluralise(failed, 'episode')} could not be run, see above", file=sys.stderr)
    return 1 if failed else 0
