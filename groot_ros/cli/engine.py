"""`groot-ros engine`: from a checkpoint to engines that are proven and measured on this machine."""

import argparse
import importlib.util
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ros.cli.observations import add_source_options, gather

if TYPE_CHECKING:
    from groot_ros.policy import Policy
    from groot_ros.runtime.manifest import Manifest
    from groot_ros.runtime.oracle import Verdict

#: Observations that prove, calibrate and validate, unless asked otherwise.
_PROVEN_WITH, _CALIBRATED_WITH, _VALIDATED_WITH = 4, 32, 8
_STAGES = ("vision", "language", "context", "denoise")
_ENGINES = ("torch", "cuda_graph", "onnxruntime", "tensorrt")

_EXAMPLES = """examples:
  groot-ros engine make --checkpoint ~/pick --embodiment new_embodiment --robot so101 \\
      --precision bfloat16                       # all of the below
  groot-ros engine export --checkpoint ~/pick --embodiment new_embodiment --precision float16 \\
      --stages context denoise --engine-directory engines/pick_head
  groot-ros engine calibrate --engine-directory engines/pick_head --quantise int8 \\
      --bag ~/bags/run1 --robot so101 --stages denoise
  groot-ros engine build --engine-directory engines/pick_head
  groot-ros engine validate --engine-directory engines/pick_head --engine tensorrt --robot so101
  groot-ros engine benchmark --engine-directory engines/pick_head --row

Then: groot-ros up --checkpoint ~/pick ... with the parameters engine and engine_directory,
or groot-ros infer --engine auto --engine-directory engines/pick_head.
docs/how-to/engines.md tells what each step does and which precision to take.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "engine",
        help="export, build, calibrate, validate and measure engines",
        description="From a checkpoint to engines that are proven and measured on this machine.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_export(actions)
    _add_calibrate(actions)
    _add_build(actions)
    _add_validate(actions)
    _add_benchmark(actions)
    _add_make(actions)


def _add_action(
    actions: Any, name: str, run: Callable[[argparse.Namespace], int], help_: str, example: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name,
        help=help_,
        description=f"{help_[0].upper()}{help_[1:]}.",
        epilog=f"example:\n  groot-ros engine {name} {example}\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--robot", help="robot contract, a name or a file: errors in rad and m")
    parser.set_defaults(run=run)
    return parser


def _add_export(actions: Any) -> None:
    parser = _add_action(
        actions,
        "export",
        run_export,
        "a checkpoint to ONNX files, stored answers and a manifest",
        "--checkpoint ~/pick --embodiment new_embodiment --precision bfloat16",
    )
    _export_options(parser)
    add_source_options(parser, _PROVEN_WITH)


def _export_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--checkpoint", required=True, help="directory, or a hub id that was downloaded before")
    add("--embodiment", required=True, metavar="TAG", help="as in processor_config.json")
    add("--backbone-assets", metavar="DIR", help="the VLM's config and tokenizer, or a hub id")
    add(
        "--engine-directory",
        type=Path,
        metavar="DIR",
        help="(default: engines/CHECKPOINT_EMBODIMENT_PRECISION)",
    )
    add(
        "--precision",
        choices=("float32", "bfloat16", "float16"),
        default="float32",
        help="of weights and tensors (default: float32)",
    )
    add(
        "--stages",
        nargs="+",
        choices=_STAGES,
        default=list(_STAGES),
        help="those that become files; PyTorch runs the others (default: all)",
    )
    add(
        "--attention",
        choices=("by_hand", "fused"),
        default="by_hand",
        help="by_hand for TensorRT before 10.8 (default), or as the exporter likes",
    )
    add(
        "--steps",
        type=int,
        nargs="+",
        metavar="N",
        help="numbers of denoising steps to be proven (default: the checkpoint's)",
    )
    add(
        "--instruction-tokens",
        type=int,
        default=64,
        metavar="N",
        help="longest instruction that a built engine takes (default: 64)",
    )


def _directory_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--engine-directory", type=Path, required=True, metavar="DIR", help="of `engine export`")
    add("--checkpoint", help="(default: where it lay at export)")


def _add_calibrate(actions: Any) -> None:
    parser = _add_action(
        actions,
        "calibrate",
        run_calibrate,
        "products of exported stages to INT8 or FP8, by Q/DQ pairs in the ONNX files",
        "--engine-directory engines/pick --quantise int8 --bag ~/bags/run1 --robot so101",
    )
    _directory_options(parser)
    _quantise_options(parser, required=True)
    add_source_options(parser, _CALIBRATED_WITH)


def _quantise_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    add = parser.add_argument
    add("--quantise", choices=("int8", "fp8"), required=required, help="what the products become")
    add(
        "--method",
        choices=("percentile", "max"),
        default="percentile",
        help="what a range covers: 99.99 %% of the values, or all (default: percentile)",
    )
    name = "--stages" if required else "--quantised-stages"
    add(
        name,
        dest="quantised_stages",
        nargs="+",
        choices=_STAGES,
        default=["denoise"],
        help="(default: denoise, which is bound by the bandwidth of its weights)",
    )


def _add_build(actions: Any) -> None:
    parser = _add_action(
        actions,
        "build",
        run_build,
        "TensorRT engines from the ONNX files, on and for this very machine",
        "--engine-directory engines/pick",
    )
    _directory_options(parser)
    _build_options(parser)


def _build_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--workspace", type=float, metavar="GIB", help="scratch memory (default: all that is free)")
    add("--optimisation-level", type=int, default=3, choices=range(6), help="(default: 3)")


def _add_validate(actions: Any) -> None:
    parser = _add_action(
        actions,
        "validate",
        run_validate,
        "errors of engines by stage, denoising step and joint; status 1 beyond the tolerance",
        "--engine-directory engines/pick --engine onnxruntime --robot so101 --json errors.json",
    )
    _directory_options(parser)
    _engine_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures for a program")
    add_source_options(parser, _VALIDATED_WITH)


def _engine_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine",
        nargs="+",
        choices=_ENGINES,
        help="(default: all that can run here)",
    )


def _add_benchmark(actions: Any) -> None:
    parser = _add_action(
        actions,
        "benchmark",
        run_benchmark,
        "latency and errors of engines on this machine, as tables",
        "--engine-directory engines/pick --row",
    )
    _directory_options(parser)
    _engine_options(parser)
    _benchmark_options(parser)
    add_source_options(parser, _PROVEN_WITH)


def _benchmark_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--runs", type=int, default=20, metavar="N", help="times are medians of N (default: 20)")
    add("--row", action="store_true", help="print rows for docs/reference/hardware.md")


def _add_make(actions: Any) -> None:
    parser = _add_action(
        actions,
        "make",
        run_make,
        "export, calibrate where asked for, build where TensorRT is, validate and measure",
        "--checkpoint ~/pick --embodiment new_embodiment --robot so101 --precision bfloat16",
    )
    _export_options(parser)
    _quantise_options(parser, required=False)
    _build_options(parser)
    _engine_options(parser)
    _benchmark_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures for a program")
    add_source_options(parser, _PROVEN_WITH)


def run_export(args: argparse.Namespace) -> int:
    """Write an engine directory."""
    _require_installed("onnx", "onnxscript")
    from groot_ros.cli.engine_tables import describe
    from groot_ros.export.pipeline import ExportOptions, export_engine
    from groot_ros.policy import load_policy
    from groot_ros.runtime.checkpoint_parts import open_checkpoint
    from groot_ros.runtime.placement import choose_device
    from groot_ros.runtime.profile import derive_profile

    robot = _robot(args)
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
    with bars() as show:
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
        manifest = export_engine(
            policy,
            parts,
            observations,
            source,
            profile,
            args.engine_directory,
            ExportOptions(args.precision, tuple(args.stages), args.attention, steps),
            show,
            device=choose_device(args.device),
            backbone_assets=args.backbone_assets or "",
        )
    print(f"{args.engine_directory}: {describe(manifest)}")
    return 0


def run_calibrate(args: argparse.Namespace) -> int:
    """Quantise stages of an engine directory."""
    _require_installed("onnx")
    from groot_ros.export.calibration import calibrate_files

    manifest = _manifest(args)
    policy = _policy(args, manifest, "torch", proven=False, dtype="float32")
    observations, source = gather(args, policy)
    inputs = [policy.encode(observation)[0] for observation in observations]
    parts, device = _parts(args, manifest), _device(args)
    policy.close()
    with bars() as show:
        report = calibrate_files(
            args.engine_directory,
            manifest,
            parts,
            inputs,
            source,
            kind=args.quantise,
            stages=args.quantised_stages,
            method=args.method,
            device=device,
            progress=show,
        )
    print("\n".join(report))
    return 0


def run_build(args: argparse.Namespace) -> int:
    """Build TensorRT engines; 2 where TensorRT is not."""
    from groot_ros.export.plans import build_plans

    manifest = _manifest(args)
    with bars() as show:
        built = build_plans(
            args.engine_directory,
            manifest,
            _parts(args, manifest).config,
            device=_device(args),
            workspace_gib=args.workspace,
            optimisation_level=args.optimisation_level,
            progress=show,
        )
    for name, files in built.stages.items():
        assert files.plan is not None
        print(f"{args.engine_directory / files.plan.file}: stage {name}, {files.plan.machine}")
    return 0


def run_validate(args: argparse.Namespace) -> int:
    """0 when every engine is proven, 1 when one is not."""
    from groot_ros.cli.engine_tables import accuracy_tables, describe, verdict_line
    from groot_ros.export.accuracy import measure_accuracy
    from groot_ros.runtime.measured import remember

    manifest = _manifest(args)
    print(f"{args.engine_directory}: {describe(manifest)}")
    names = _engines(args, manifest)
    results: dict[str, Any] = {}
    for name in names:
        with bars() as show:
            candidate = _policy(args, manifest, name, show=show)
            reference = _policy(args, manifest, "torch", proven=False, dtype="float32", show=show)
            observations, source = gather(args, candidate)
            accuracy = measure_accuracy(
                reference,
                candidate,
                observations,
                progress=lambda fraction: show("validating", fraction),
            )
        verdict = _worst_verdict(candidate, args.engine_directory, manifest)
        reference.close()
        candidate.close()
        remember(args.engine_directory, name, verdict, _device(args))
        print(f"\n{accuracy_tables(accuracy)} from {source}\n{verdict_line(name, verdict)}")
        results[name] = {
            "proven": verdict.proven,
            "error": verdict.error,
            "tolerance": verdict.tolerance,
            "source": source,
            **accuracy.to_json(),
        }
    if args.json is not None:
        args.json.write_text(json.dumps(_finite(results), indent=2) + "\n", encoding="utf-8")
        print(f"\nfigures in {args.json}")
    return 0 if all(one["proven"] for one in results.values()) else 1


def run_benchmark(args: argparse.Namespace) -> int:
    """Print tables of latency and errors."""
    from groot_ros.cli.engine_tables import (
        hardware_header,
        hardware_row,
        latency_table,
        step_table,
    )
    from groot_ros.export.accuracy import measure_accuracy
    from groot_ros.export.latency import measure_latency
    from groot_ros.runtime.measured import machine_in_words, remember, today
    from groot_ros.runtime.tensorrt.machine import jetpack

    if args.runs < 1:
        raise ValueError(f"--runs must be at least 1, not {args.runs}")
    manifest, device = _manifest(args), _device(args)
    place = f"{machine_in_words(device)}{_threads(device)}"
    table: dict[str, Any] = {}
    steps: dict[str, Any] = {}
    rows = []
    for name in _engines(args, manifest):
        with bars() as show:
            candidate = _policy(args, manifest, name, show=show)
            observations, _ = gather(args, candidate)
            latency = measure_latency(
                candidate,
                observations,
                args.runs,
                device=device,
                progress=lambda fraction: show("timing", fraction),
            )
            reference = _policy(args, manifest, "torch", proven=False, dtype="float32", show=show)
            accuracy = measure_accuracy(
                reference, candidate, observations, progress=lambda f: show("comparing", f)
            )
        reference.close()
        candidate.close()
        assert candidate.verdict is not None
        verdict = replace(candidate.verdict, seconds=latency.backbone + latency.head)
        remember(args.engine_directory, name, verdict, device)
        executed = _executed_by(name, manifest, device)
        table[name] = latency, accuracy, executed
        steps[name] = accuracy
        version = _tensorrt_version(manifest) if name == "tensorrt" else ""
        precision = " + ".join(dict.fromkeys(executed))
        rows.append(hardware_row(place, jetpack(), version, name, precision, latency, today()))
    print(f"\n{place}, medians of {args.runs}\n{latency_table(table)}")
    print(f"\n{step_table(steps)}")
    if args.row:
        print(f"\n{hardware_header()}\n" + "\n".join(rows))
    return 0


def run_make(args: argparse.Namespace) -> int:
    """The chain; the status of the validation."""
    from groot_ros.runtime.tensorrt import unavailable

    run_export(args)
    if args.quantise:
        run_calibrate(args)
    reason = "the device is not a GPU" if _device(args).type != "cuda" else unavailable()
    if reason is None:
        run_build(args)
    else:
        print(f"TensorRT engines are not built: {reason}")
    status = run_validate(args)
    run_benchmark(args)
    return status


def _require_installed(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"{missing[0]} is not installed: pip install 'groot_ros[onnx]'")


@contextmanager
def bars() -> Iterator[Callable[[str, float], None]]:
    """A progress bar that changes its name with what is done."""
    from tqdm import tqdm

    with tqdm(
        total=100, bar_format="{desc:<32} {percentage:3.0f}%|{bar}|", disable=None, leave=False
    ) as bar:

        def show(what: str, fraction: float) -> None:
            bar.set_description_str(what, refresh=False)
            bar.n = round(100 * fraction)
            bar.refresh()

        yield show


def _finite(value: Any) -> Any:
    """JSON has neither NaN nor infinity: null."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _manifest(args: argparse.Namespace) -> "Manifest":
    from groot_ros.runtime.manifest import Manifest

    return Manifest.read(args.engine_directory)


def _device(args: argparse.Namespace) -> Any:
    from groot_ros.runtime.placement import choose_device

    return choose_device(args.device)


def _threads(device: Any) -> str:
    """How many a CPU runs with; nothing for a GPU."""
    from groot_ros.runtime.measured import threads_in_words

    return "" if device.type == "cuda" else f", {threads_in_words()}"


def _robot(args: argparse.Namespace) -> Any:
    from groot_ros.robot import load_contract
    from groot_ros.share import robot_path

    return None if args.robot is None else load_contract(robot_path(args.robot))


def _parts(args: argparse.Namespace, manifest: "Manifest") -> Any:
    from groot_ros.runtime.checkpoint_parts import open_checkpoint

    return open_checkpoint(
        args.checkpoint or manifest.checkpoint,
        manifest.embodiment,
        backbone_assets=manifest.backbone_assets or None,
    )


def _policy(
    args: argparse.Namespace,
    manifest: "Manifest",
    engine: str,
    *,
    proven: bool = True,
    dtype: str = "auto",
    show: Callable[[str, float], None] | None = None,
) -> "Policy":
    """With an engine that may be unproven: this verb is what proves it."""
    from groot_ros.policy import load_policy

    return load_policy(
        args.checkpoint or manifest.checkpoint,
        manifest.embodiment,
        robot=_robot(args),
        device=args.device,
        engine=engine,
        engine_directory=args.engine_directory if proven else None,
        allow_unproven_engine=True,
        dtype=dtype,
        backbone_assets=manifest.backbone_assets or None,
        num_inference_steps=manifest.steps[0],
        progress=None if show is None else lambda s, f: show(f"{engine}: loading {s}", f),
    )


def _engines(args: argparse.Namespace, manifest: "Manifest") -> list[str]:
    """Those asked for, or all that can run here; says why the others cannot."""
    from groot_ros.runtime.engines import EngineFiles, obstacle

    if args.engine:
        return list(args.engine)
    files = EngineFiles(args.engine_directory, manifest)
    reasons = {name: obstacle(name, _device(args), files) for name in _ENGINES}
    for name, reason in reasons.items():
        if reason:
            print(f"engine {name} left out: {reason}")
    return [name for name, reason in reasons.items() if not reason]


def _worst_verdict(policy: "Policy", directory: Path, manifest: "Manifest") -> "Verdict":
    """Over all numbers of denoising steps that are stored; the policy itself proved the first."""
    from groot_ros.runtime.oracle import Oracle

    first = policy.verdict
    assert first is not None
    oracle = Oracle.load(directory, manifest.oracle_sha256)
    others = [policy.prove(oracle, n, first.tolerance) for n in manifest.steps[1:]]
    # The first that is not proven, for an error may be NaN; else the largest error.
    return max((first, *others), key=lambda v: (not v.proven, v.error))


def _executed_by(engine: str, manifest: "Manifest", device: Any) -> tuple[str, str]:
    """Who executes backbone and head, and in which precision."""
    from groot_ros.runtime.engines import FROM_FILES
    from groot_ros.runtime.placement import choose_dtype

    weights = str(choose_dtype("auto", device)).removeprefix("torch.")

    def of(stage: str) -> str:
        files = manifest.stages.get(stage)
        if engine not in FROM_FILES:
            return f"PyTorch {weights}"
        if files is None:
            return f"PyTorch {manifest.precision}"
        name = {"onnxruntime": "ORT", "tensorrt": "TRT"}[engine]
        return f"{name} {files.quantised or manifest.precision}"

    return of("language"), of("denoise")


def _tensorrt_version(manifest: "Manifest") -> str:
    plans = [files.plan for files in manifest.stages.values() if files.plan is not None]
    return plans[0].machine.tensorrt if plans else ""
