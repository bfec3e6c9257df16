# SPDX-License-Identifier: Apache-2.0
"""The command: options, Markdown table and JSON file."""

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import benchmarks.gpu as package
from benchmarks.gpu.cases import STAGES, make_case, tiny_families
from benchmarks.gpu.engines import ENGINES
from benchmarks.gpu.measure import Row, measure_stage
from benchmarks.inference.roofline import Machine
from groot_ros.families.registry import BUILTIN
from groot_ros.runtime.device import choose_device
from groot_ros.runtime.engine_benchmarks import describe_machine, today

HEADER = (
    "model", "stage", "engine", "max error", "tolerance", "compile s", "ms", "segments ms",
    "memory GB", "limit ms", "x limit",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the selected families and engines; return 1 if an engine is not validated."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.gpu",
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--families", nargs="+", choices=list(BUILTIN), help="default: all")
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--device", default="cuda:0", help="cuda:N or cpu (default cuda:0)")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--size", choices=("full", "tiny"), default="full")
    parser.add_argument("--horizon", type=int, default=16, help="steps of a chunk (default 16)")
    parser.add_argument("--rounds", type=int, default=20, help="timed runs (default 20)")
    parser.add_argument(
        "--compile-backend", default="inductor", help="backend of torch.compile (default inductor)"
    )
    options = parser.parse_args(arguments)
    try:
        device = choose_device(options.device)
    except ValueError as error:
        parser.error(f"{error}; try the command with --device cpu --size tiny")
    dtype = getattr(torch, options.dtype)
    engines = [name for name in options.engines if name != "cuda_graph" or has_graphs(device)]
    machine = Machine.measure(device, dtype)
    limit = peak_bandwidth(device) or machine.bandwidth
    facts = {
        "date": today(),
        "machine": describe_machine(device),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "size": options.size,
        "dtype": options.dtype,
        "peak_bandwidth": peak_bandwidth(device),
        "measured_bandwidth": machine.bandwidth,
        "measured_speed": machine.speed,
    }
    print(_heading(facts), flush=True)
    rows: list[Row] = []
    for family in options.families or (tiny_families() if options.size == "tiny" else BUILTIN):
        for stage in STAGES:
            tiny = options.size == "tiny"
            case = make_case(family, stage, options.horizon, device, dtype, tiny=tiny)
            try:
                rows += measure_stage(
                    family,
                    case,
                    dtype,
                    engines,
                    backend=options.compile_backend,
                    rounds=options.rounds,
                    tell=lambda line: print(line, file=sys.stderr, flush=True),
                )
            except ValueError as error:
                sys.exit(f"error: {error}")
    text = _markdown(rows, limit)
    print(f"\n{text}")
    folder = Path(os.environ.get("OUT", "out"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpu.md").write_text(f"{_heading(facts)}\n\n{text}\n", encoding="utf-8")
    figures = {**facts, "rows": [_figures(row, limit) for row in rows]}
    (folder / "gpu.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(f"\n{folder / 'gpu.md'}, {folder / 'gpu.json'}")
    wrong = [row for row in rows if not row.validated]
    for row in wrong:
        print(
            f"NOT VALIDATED: {row.family} {row.stage}, engine {row.engine}: error {row.error:.2g}, "
            f"tolerance {row.tolerance:.2g}"
        )
    return 1 if wrong else 0


def peak_bandwidth(device: torch.device) -> float:
    """Return bytes per second from the memory's clock and bus width; 0 if they are unknown."""
    if device.type != "cuda":
        return 0.0
    properties = torch.cuda.get_device_properties(device)
    clock = getattr(properties, "memory_clock_rate", 0)
    width = getattr(properties, "memory_bus_width", 0)
    # kHz and bits; the memory transfers twice per clock.
    return 2.0 * clock * 1e3 * width / 8


def has_graphs(device: torch.device) -> bool:
    """Return whether CUDA graphs exist on the device; print a line if they do not."""
    if device.type == "cuda":
        return True
    print(f"engine cuda_graph skipped: needs a CUDA device, not {device}")
    return False


def _heading(facts: dict[str, Any]) -> str:
    peak = facts["peak_bandwidth"]
    known = f"peak {peak / 1e9:.0f} GB/s, " if peak else ""
    return (
        f"{facts['machine']}, torch {facts['torch']}, {facts['dtype']}, {facts['size']} size, "
        f"{facts['date']}; {known}measured {facts['measured_bandwidth'] / 1e9:.1f} GB/s and "
        f"{facts['measured_speed'] / 1e12:.3f} TFLOP/s"
    )


def _markdown(rows: Sequence[Row], bandwidth: float) -> str:
    lines = [f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    for row in rows:
        limit = row.read_bytes / bandwidth
        segments = ", ".join(f"{name} {1e3 * s:.2f}" for name, s in row.segments.items())
        cells = [
            row.family,
            row.stage,
            row.engine,
            f"{row.error:.1e}",
            f"{row.tolerance:.1e}",
            f"{row.compile_seconds:.1f}",
            f"{1e3 * row.seconds:.2f}",
            segments or "-",
            f"{row.memory_bytes / 1e9:.2f}",
            f"{1e3 * limit:.2f}" if limit else "-",
            f"{row.seconds / limit:.2f}" if limit else "-",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _figures(row: Row, bandwidth: float) -> dict[str, Any]:
    """Return the fields of a row for JSON, which has no NaN."""
    values = {
        **asdict(row),
        "validated": row.validated,
        "limit_seconds": row.read_bytes / bandwidth,
    }
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
