# SPDX-License-Identifier: Apache-2.0
"""`groot-ros engine benchmark`: latency and errors of engines on this machine."""

import argparse
from typing import TYPE_CHECKING, Any

from groot_ros.cli.engine.common import (
    STORED,
    add_action,
    benchmark_options,
    device_of,
    directory_options,
    engine_options,
    engines_of,
    failures_of,
    open_manifest,
    open_policy,
    open_reference,
    progress_bar,
)
from groot_ros.cli.observations import add_source_options, gather, require_source

if TYPE_CHECKING:
    from groot_ros.core.program import ProgramSpec
    from groot_ros.runtime.manifest import Manifest
    from groot_ros.runtime.torch_tensorrt.options import CompileOptions


def add(actions: Any) -> None:
    """Add the parser of `engine benchmark`."""
    parser = add_action(
        actions,
        "benchmark",
        run,
        "measure latency and errors of engines on this machine",
        "--engine-directory engines/pick --row",
    )
    directory_options(parser)
    engine_options(parser)
    benchmark_options(parser)
    add_source_options(parser, STORED)


def run(args: argparse.Namespace) -> int:
    """Measure the selected engines; print tables of latency and errors."""
    from groot_ros.cli.engine.tables import (
        hardware_header,
        hardware_row,
        latency_table,
        step_table,
    )
    from groot_ros.export.accuracy import measure_accuracy
    from groot_ros.export.latency import measure_latency
    from groot_ros.runtime.engine_benchmarks import describe_machine, store_benchmark, today
    from groot_ros.runtime.tensorrt.availability import jetpack

    require_runs(args)
    require_timer(args)
    require_source(args)
    manifest, device = open_manifest(args), device_of(args)
    place = f"{describe_machine(device)}{_threads(device)}"
    table: dict[str, Any] = {}
    steps: dict[str, Any] = {}
    rows = []
    for name in engines_of(args, manifest):
        with failures_of(f"engine '{name}'"), progress_bar() as show:
            candidate = open_policy(args, manifest, name, show=show)
            observations, _ = gather(args, candidate)
            latency = measure_latency(
                candidate,
                observations,
                args.runs,
                device=device,
                timer=args.timer,
                progress=lambda fraction: show("timing", fraction),
            )
            reference = open_reference(args, manifest, name, show)
            accuracy = measure_accuracy(
                reference, candidate, observations, progress=lambda f: show("comparing", f)
            )
        reference.close()
        candidate.close()
        assert candidate.validation is not None
        seconds = sum(latency.stages.values())
        store_benchmark(args.engine_directory, name, candidate.validation, device, seconds)
        executed = _executed_by(name, manifest, candidate.checkpoint.program, device)
        table[name] = latency, accuracy, executed
        steps[name] = accuracy
        version = _tensorrt_version(name, manifest)
        precision = " + ".join(dict.fromkeys(executed.values()))
        rows.append(hardware_row(place, jetpack(), version, name, precision, latency, today()))
    print(f"\n{place}, medians of {args.runs}\n{latency_table(table)}")
    if any(accuracy.steps for accuracy in steps.values()):
        print(f"\n{step_table(steps)}")
    if args.row:
        print(f"\n{hardware_header(latency)}\n" + "\n".join(rows))
    return 0


def require_runs(args: argparse.Namespace) -> None:
    """Raise ValueError unless --runs is at least 1."""
    if args.runs < 1:
        raise ValueError(f"--runs must be at least 1, not {args.runs}")


def require_timer(args: argparse.Namespace) -> None:
    """Raise ValueError if --timer needs a CUDA device and there is none."""
    device = device_of(args)
    if args.timer == "cuda_event" and device.type != "cuda":
        raise ValueError(f"--timer cuda_event needs a CUDA device, not {device}; use --timer wall")


def _threads(device: Any) -> str:
    """Return a description of the CPU threads, or "" for a GPU."""
    from groot_ros.runtime.engine_benchmarks import describe_threads

    return "" if device.type == "cuda" else f", {describe_threads()}"


def _executed_by(
    engine: str, manifest: "Manifest", program: "ProgramSpec", device: Any
) -> dict[str, str]:
    """Return stage -> runtime and precision of its last segment, such as "PyTorch float32"."""
    from groot_ros.runtime.device import choose_dtype, dtype_name
    from groot_ros.runtime.engines import get_engine

    weights = dtype_name(choose_dtype("auto", device))

    compiled = manifest.torch_tensorrt

    def describe(segment: str) -> str:
        files = manifest.segments.get(segment)
        if engine == "torch_tensorrt" and compiled is not None:
            return _compiled_by(compiled, segment, manifest.precision)
        if not get_engine(engine).needs_files:
            return f"PyTorch {weights}"
        if files is None:
            return f"PyTorch {manifest.precision}"
        return f"{engine} {files.quantised or manifest.precision}"

    return {stage.name: describe(stage.segments[-1].name) for stage in program.stages}


def _compiled_by(options: "CompileOptions", segment: str, precision: str) -> str:
    typed = precision if options.explicit_typing else f"float32 or {precision}"
    if segment not in options.segments:
        return f"PyTorch {precision if options.explicit_typing else 'float32'}"
    return f"torch_tensorrt {options.quantise if segment in options.quantised else typed}"


def _tensorrt_version(engine: str, manifest: "Manifest") -> str:
    """Return the version of TensorRT that an engine uses, "" if it uses none."""
    if engine == "torch_tensorrt":
        from groot_ros.runtime.tensorrt.availability import installed_version

        return installed_version()
    plans = [files.plan for files in manifest.segments.values() if files.plan is not None]
    return plans[0].machine.tensorrt if plans and engine == "tensorrt" else ""
