"""`groot-ros engine benchmark`: latency and errors of engines on this machine."""

import argparse
from typing import TYPE_CHECKING, Any

from groot_ros.cli.engine.opened import (
    device_of,
    engines_of,
    failures_of,
    open_manifest,
    open_policy,
    open_reference,
)
from groot_ros.cli.engine.options import (
    PROVEN_WITH,
    add_action,
    benchmark_options,
    directory_options,
    engine_options,
)
from groot_ros.cli.engine.progress import bars
from groot_ros.cli.observations import add_source_options, gather, require_source
from groot_ros.runtime.names import FROM_FILES

if TYPE_CHECKING:
    from groot_ros.runtime.manifest import Manifest


def add(actions: Any) -> None:
    """Add the action."""
    parser = add_action(
        actions,
        "benchmark",
        run,
        "latency and errors of engines on this machine, as tables",
        "--engine-directory engines/pick --row",
    )
    directory_options(parser)
    engine_options(parser)
    benchmark_options(parser)
    add_source_options(parser, PROVEN_WITH)


def run(args: argparse.Namespace) -> int:
    """Print tables of latency and errors."""
    from groot_ros.cli.engine.tables import (
        hardware_header,
        hardware_row,
        latency_table,
        step_table,
    )
    from groot_ros.export.accuracy import measure_accuracy
    from groot_ros.export.latency import measure_latency
    from groot_ros.runtime.engine_benchmarks import machine_in_words, remember, today
    from groot_ros.runtime.tensorrt.machine import jetpack

    require_runs(args)
    require_source(args)
    manifest, device = open_manifest(args), device_of(args)
    place = f"{machine_in_words(device)}{_threads(device)}"
    table: dict[str, Any] = {}
    steps: dict[str, Any] = {}
    rows = []
    for name in engines_of(args, manifest):
        with failures_of(f"engine '{name}'"), bars() as show:
            candidate = open_policy(args, manifest, name, show=show)
            observations, _ = gather(args, candidate)
            latency = measure_latency(
                candidate,
                observations,
                args.runs,
                device=device,
                progress=lambda fraction: show("timing", fraction),
            )
            reference = open_reference(args, manifest, name, show)
            accuracy = measure_accuracy(
                reference, candidate, observations, progress=lambda f: show("comparing", f)
            )
        reference.close()
        candidate.close()
        assert candidate.verdict is not None
        seconds = latency.backbone + latency.head
        remember(args.engine_directory, name, candidate.verdict, device, seconds)
        executed = _executed_by(name, manifest, device)
        table[name] = latency, accuracy, executed
        steps[name] = accuracy
        version = _tensorrt_version(manifest) if name == "tensorrt" else ""
        precision = " + ".join(dict.fromkeys(executed))
        rows.append(hardware_row(place, jetpack(), version, name, precision, latency, today()))
    print(f"\n{place}, medians of {args.runs}\n{latency_table(table)}")
    if any(accuracy.steps for accuracy in steps.values()):
        print(f"\n{step_table(steps)}")
    if args.row:
        print(f"\n{hardware_header()}\n" + "\n".join(rows))
    return 0


def require_runs(args: argparse.Namespace) -> None:
    """Raise ValueError where nothing would be timed."""
    if args.runs < 1:
        raise ValueError(f"--runs must be at least 1, not {args.runs}")


def _threads(device: Any) -> str:
    """How many a CPU runs with; nothing for a GPU."""
    from groot_ros.runtime.engine_benchmarks import threads_in_words

    return "" if device.type == "cuda" else f", {threads_in_words()}"


def _executed_by(engine: str, manifest: "Manifest", device: Any) -> tuple[str, str]:
    """Who executes backbone and head, and in which precision."""
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
