# SPDX-License-Identifier: Apache-2.0
"""`groot-ros evaluate`: judge policies on recordings, without a robot."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ros.cli import add_command, add_parallel_options, pluralise, without_reports
from groot_ros.cli.config_options import add_config_options, config_from_options
from groot_ros.core import PolicyConfig

if TYPE_CHECKING:
    from groot_ros.evaluation.offline import EpisodeEvaluation, EvaluationSettings

_EXAMPLES = """examples:
  groot-ros evaluate ~/bags/run1 --checkpoint ~/pick         # into ~/bags/run1_evaluation
  groot-ros evaluate ~/bags/* --checkpoint ~/old --checkpoint ~/new --jobs 4
  groot-ros evaluate ~/bags/run1 --checkpoint ~/pick --engine torch --engine tensorrt \\
      --engine-directory engines/pick
  groot-ros evaluate ~/bags/teleop --checkpoint ~/pick --robot so101 --embodiment new_embodiment \\
      --leader leader/joint_states --instruction "pick up the cube"

as a regression test:
  groot-ros evaluate run1 --checkpoint ~/pick --seeds 1 --json golden.json       # once
  groot-ros evaluate run1 --checkpoint ~/pick --seeds 1 --golden golden.json --tolerance 0.001

Exit status: 0 evaluated; 1 a recording could not be evaluated, or the result differs from the
golden one; 2 wrong usage.
"""

#: Fields of the policy configuration that are options.
_CONFIG = (
    "embodiment",
    "robot",
    "backbone_assets",
    "base_checkpoint",
    "device",
    "engine_directory",
    "allow_unvalidated_engine",
    "dtype",
    "torch_threads",
    "num_inference_steps",
    "max_image_age",
    "max_image_skew",
    "max_state_gap",
)
#: Fields of the policy configuration that may name a file or a directory.
_FILES = ("checkpoint", "robot", "backbone_assets", "base_checkpoint", "engine_directory")
#: Largest number of seeds.
_MAX_SEEDS = 1000


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros evaluate`."""
    description = "Judge policies on recordings: errors, baselines, comparison, regression test."
    parser = add_command(subparsers, "evaluate", description, _EXAMPLES)
    add = parser.add_argument
    add("recordings", nargs="+", type=Path, metavar="BAG|DATASET", help="bags, LeRobot data sets")
    add(
        "--checkpoint",
        action="append",
        required=True,
        metavar="DIR",
        help="checkpoint; several are compared with the first",
    )
    add("--engine", action="append", metavar="ENGINE", help="several are compared with the first")
    add_config_options(
        parser,
        PolicyConfig,
        _CONFIG,
        defaults={"embodiment": ""},
        options={"torch_threads": "threads", "num_inference_steps": "steps"},
    )
    add("--seeds", type=int, default=3, metavar="N", help="seeds of the noise (default: 3)")
    add("--interval", type=float, default=0.2, metavar="S", help="s between chunks (default: 0.2)")
    add(
        "--reference",
        choices=("auto", "commands", "motion"),
        default="auto",
        help="compare with commands, or with the measured motion (default: commands where a joint "
        "has some)",
    )
    add("--leader", metavar="TOPIC", help="joint states of a leader arm: they are the commands")
    add("--namespace", help="namespace of the robot in the bags (default: the only one there)")
    add("--instruction", help="replaces the instructions of the recordings")
    add(
        "--no-reproduction",
        dest="reproduce",
        action="store_false",
        help="do not compute recorded chunks again",
    )
    add("--out", type=Path, metavar="DIR", help="of the report (default: BAG_evaluation)")
    add("--json", type=Path, metavar="FILE", help="also write the result into this file")
    add("--golden", type=Path, metavar="FILE", help="result of --json to compare with")
    add("--tolerance", type=float, default=1e-3, help="for --golden, rad or m (default: 0.001)")
    add_parallel_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate, print the tables and write the report; return 1 if a recording failed."""
    args.recordings = without_reports(args.recordings)
    _check(args)
    from groot_ros.evaluation.evaluation_report import describe, notes, write_evaluation
    from groot_ros.evaluation.evaluation_report import write_result as write_json
    from groot_ros.evaluation.golden import compare_with_golden, read_golden
    from groot_ros.evaluation.offline import EvaluationSettings, evaluation_result

    golden = None if args.golden is None else read_golden(args.golden)
    settings = EvaluationSettings(
        tuple(range(args.seeds)),
        args.interval,
        args.reference,
        args.instruction,
        args.namespace,
        args.leader,
        args.reproduce,
    )
    began = time.time()
    policies, failed = _evaluate(args, settings)
    if not all(policies.values()):
        lacking = ", ".join(label for label, own in policies.items() if not own)
        print(f"groot-ros evaluate: no recording could be evaluated ({lacking})", file=sys.stderr)
        return 1
    result = evaluation_result(settings, policies, failed, _times(began, policies))
    print(describe(result))
    for note in notes(result):
        print(f"groot-ros evaluate: {note}", file=sys.stderr)
    out = args.out or _default_out(args.recordings)
    write_evaluation(result, out, f"Evaluation of {_named(args.recordings)}")
    print(f"\nresults in {out}/")
    if args.json is not None:
        write_json(result, args.json)
        print(f"result in {args.json}")
    if golden is None:
        return 1 if failed else 0
    comparison = compare_with_golden(result, golden, args.tolerance)
    for problem in comparison.problems:
        print(f"groot-ros evaluate: {problem}", file=sys.stderr)
    if not comparison.problems:
        print(
            f"equal to {args.golden} within {args.tolerance:g}: "
            f"{pluralise(comparison.places, 'chunk')}, "
            + (
                f"largest difference {comparison.largest:.2g} at {comparison.where}"
                if comparison.largest
                else "no difference"
            )
        )
    return 1 if failed or comparison.problems else 0


def _check(args: argparse.Namespace) -> None:
    """Raise ValueError for wrong options, before anything slow starts."""
    from groot_ros.cli.infer import require_writable

    if not 1 <= args.seeds <= _MAX_SEEDS:
        raise ValueError(f"--seeds must be from 1 to {_MAX_SEEDS}, not {args.seeds}")
    if not 0.001 <= args.interval <= 3600.0:
        raise ValueError(f"--interval must be from 0.001 to 3600 s, not {args.interval:g}")
    if not args.tolerance >= 0.0:
        raise ValueError(f"--tolerance must be 0 or more, not {args.tolerance:g}")
    if args.jobs is not None and args.jobs < 1:
        raise ValueError(f"--jobs must be at least 1, not {args.jobs}")
    for path in args.recordings:
        if not path.exists():
            raise ValueError(f"{path}: no such bag or data set")
    if args.json is not None:
        require_writable(args.json, "--json")
    if args.golden is not None and not args.golden.is_file():
        raise ValueError(f"--golden {args.golden}: no such file")
    out = args.out or _default_out(args.recordings)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out}: is not a directory")


def _evaluate(
    args: argparse.Namespace, settings: "EvaluationSettings"
) -> tuple[dict[str, list["EpisodeEvaluation"]], dict[str, str]]:
    """Return label of a policy -> its episodes, and the episodes that failed with the reason."""
    from groot_ros.bags.parallel import map_episodes
    from groot_ros.evaluation.offline import (
        EvaluationJob,
        default_jobs,
        evaluate_episode,
        threads_per_job,
    )

    episodes = _episodes(args.recordings)
    names = [name for name, *_ in episodes]
    found: dict[str, list[EpisodeEvaluation]] = {}
    failed: dict[str, str] = {}
    for label, config in _policies(args).items():
        jobs = args.jobs or default_jobs(config, len(names))
        config = replace(config, torch_threads=threads_per_job(config, jobs))
        own = [
            EvaluationJob(name, path.absolute(), config, settings, config.robot, number, jobs == 1)
            for name, path, number in episodes
        ]
        results = map_episodes(
            evaluate_episode,
            own,
            names=names,
            label=label,
            jobs=jobs,
            dask=args.dask,
            paths=[*(job.path for job in own), *_files(config)],
        )
        found[label] = [each.value for each in results if each.value is not None]
        failed |= {each.name: each.error for each in results if each.failed}
    return found, failed


def _policies(args: argparse.Namespace) -> dict[str, PolicyConfig]:
    """Return label -> configuration of each combination of --checkpoint and --engine."""
    from groot_ros.policy.loading import open_checkpoint

    engines = args.engine or [PolicyConfig.engine]
    if not args.embodiment:
        args.embodiment = _recorded_embodiment(args.recordings)
    base = config_from_options(args, PolicyConfig, _CONFIG, checkpoint=args.checkpoint[0])
    given = [(checkpoint, engine) for checkpoint in args.checkpoint for engine in engines]
    if len(set(given)) < len(given):
        raise ValueError("--checkpoint or --engine: one is given twice")
    short = _short_names([Path(checkpoint) for checkpoint in args.checkpoint])
    labels = dict(zip(args.checkpoint, short, strict=True))
    base = replace(base, **_absolute(base))
    policies = {
        labels[checkpoint] + (f" {engine}" if len(engines) > 1 else ""): replace(
            base, checkpoint=_absolute_path(checkpoint), engine=engine
        )
        for checkpoint, engine in given
    }
    for config in policies.values():
        # A checkpoint that cannot be used is one error, not one for each recording.
        open_checkpoint(config)
    return policies


def _absolute(config: PolicyConfig) -> dict[str, Any]:
    """Return the fields that name files, absolute: workers may run in another directory."""
    return {name: _absolute_path(getattr(config, name)) for name in _FILES}


def _absolute_path(name: str) -> str:
    """Return an existing path as an absolute one, and other names, as of a robot, as they are."""
    return str(Path(name).absolute()) if name and Path(name).exists() else name


def _files(config: PolicyConfig) -> list[Path]:
    """Return the files and directories that the workers of a cluster must see."""
    names = [getattr(config, name) for name in _FILES]
    return [Path(name) for name in names if name and Path(name).exists()]


def _recorded_embodiment(recordings: Sequence[Path]) -> str:
    """Return the embodiment with which the bags were recorded, or the node's default."""
    from groot_ros.bags.episode import read_episode

    bags = [path for path in recordings if not _is_dataset(path)]
    found = {read_episode(path).embodiment for path in bags} - {""}
    if len(found) > 1:
        names = ", ".join(sorted(found))
        raise ValueError(f"--embodiment is needed: the bags were recorded with {names}")
    return found.pop() if found else PolicyConfig.embodiment


def _names(recordings: Sequence[Path]) -> dict[str, Path]:
    """Return name -> path of the recordings, named by as much of their path as is needed."""
    resolved = [path.resolve() for path in recordings]
    if len(set(resolved)) < len(resolved):
        raise ValueError("a recording is given twice")
    return dict(zip(_short_names(resolved), recordings, strict=True))


def _episodes(recordings: Sequence[Path]) -> list[tuple[str, Path, int | None]]:
    """Return (name, path, number in the data set or None) of all episodes."""
    found: list[tuple[str, Path, int | None]] = []
    for name, path in _names(recordings).items():
        if not _is_dataset(path):
            found.append((name, path, None))
            continue
        from groot_ros.datasets.reader import Dataset

        episodes = Dataset(path).episodes
        found += [(f"{name}/{each.number}", path, at) for at, each in enumerate(episodes)]
    if not found:
        raise ValueError("the data set has no episode")
    return found


def _is_dataset(path: Path) -> bool:
    return (path / "meta" / "info.json").is_file()


def _short_names(paths: Sequence[Path]) -> list[str]:
    """Return the last parts of the paths, as many as make them differ."""
    resolved = [path.resolve() for path in paths]
    for parts in range(1, max(len(path.parts) for path in resolved) + 1):
        names = ["/".join(path.parts[-parts:]) for path in resolved]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in resolved]


def _default_out(recordings: Sequence[Path]) -> Path:
    first = recordings[0].resolve()
    return first.with_name(f"{first.name}_evaluation")


def _named(recordings: Sequence[Path]) -> str:
    names = list(_names(recordings))
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _times(began: float, policies: "Mapping[str, list[EpisodeEvaluation]]") -> dict[str, Any]:
    """Return when and how fast; the only part of the result that differs between two runs."""
    seconds = {
        label: {
            key: sum(each.predictions.seconds[key] for each in own) for key in ("policy", "other")
        }
        for label, own in policies.items()
    }
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began))
    return {"started": started, "seconds": time.time() - began, "policies": seconds}
