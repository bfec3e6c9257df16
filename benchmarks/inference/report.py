# SPDX-License-Identifier: Apache-2.0
"""Time every implementation in turn with engine "torch" and print the tables."""

import argparse
import gc
import importlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

import torch

import benchmarks.inference as package
from benchmarks.free_space import require_free
from benchmarks.inference.contestants import (
    ENGINES,
    Factory,
    Run,
    by_segment,
    can_compile,
    through,
)
from benchmarks.inference.roofline import Machine, describe_libraries
from groot_ros.evaluation.table import format_table
from groot_ros.families.family import BenchmarkCase, SegmentWork
from groot_ros.families.registry import get_family
from groot_ros.runtime.engine_benchmarks import describe_machine, describe_threads
from groot_ros.runtime.program_engine import SegmentRunner

#: Bytes for two copies of the larger stage in float32.
MEMORY = 13e9
#: Weights that torch.compile freezes, in addition.
FROZEN = 5e9
#: Families with a benchmark; the first one has a target for its resident memory.
FAMILIES = "gr00t_n1d6", "gr00t_n1d5"
WANTED_RESIDENT = 5.2e9

HEADER = [
    "engine", "part", "ms", "x torch", "torch / it", "GB", "bandwidth ms", "arithmetic ms", "share",
    "difference",
]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and print one table for every device and horizon."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.inference",
        description=package.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--horizons", type=int, nargs="+", default=[16, 50], help="steps of a chunk"
    )
    parser.add_argument("--parts", nargs="+", default=["backbone", "head"], help="stages")
    parser.add_argument("--engines", nargs="*", choices=list(ENGINES), help="besides torch")
    parser.add_argument(
        "--rounds", type=int, default=5, help="timed runs of each implementation (default 5)"
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 = torch's default")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--family",
        choices=FAMILIES,
        default=FAMILIES[0],
        help="model family (default %(default)s)",
    )
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--against", metavar="MODULE:FACTORY", help="another implementation")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    there = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for name in there if options.device == "auto" else [options.device]:
        _report(options, torch.device(name))


def _report(options: argparse.Namespace, device: torch.device) -> None:
    family = get_family(options.family)
    default = torch.bfloat16 if device.type == "cuda" else torch.float32
    dtype = getattr(torch, options.dtype, default)
    others = _others(options, device)
    if device.type == "cpu":
        frozen = FROZEN if "compiled" in others else 0
        require_free("inference", memory=MEMORY + frozen)
    machine = Machine.measure(device, dtype)
    print(describe_machine(device))
    on_cpu = f", {describe_threads()}, {describe_libraries()}" if device.type == "cpu" else ""
    print(
        f"{device}{on_cpu}, {str(dtype).removeprefix('torch.')}; measured "
        f"{machine.bandwidth / 1e9:.1f} GB/s and {machine.speed / 1e12:.3f} TFLOP/s"
    )
    for horizon in options.horizons:
        cases = [family.benchmark(part, horizon, device, dtype) for part in options.parts]
        stages: dict[str, list[tuple[float, float]]] = {}
        rows = [
            row for case in cases for row in _rows(case, others, options.rounds, machine, stages)
        ]
        if len(cases) > 1:
            rows += _whole(stages)
        print(f"\n{family.name}, {cases[0].description}")
        print(format_table(HEADER, rows), flush=True)
    resident = family.resident_bytes(options.horizons[0], torch.bfloat16)
    target = f" (target <= {WANTED_RESIDENT / 1e9})" if family.name == FAMILIES[0] else ""
    print(f"\nresident, bfloat16, one embodiment: {resident / 1e9:.2f} GB{target}")


def _others(options: argparse.Namespace, device: torch.device) -> dict[str, Factory]:
    names = options.engines
    if names is None:
        names = ["eager", "reference"]
        names += ["compiled"] if device.type == "cuda" or can_compile() else []
        names += ["cuda_graph"] if device.type == "cuda" else []
    others = {name: ENGINES[name] for name in names}
    if options.against:
        others[options.against] = _against(options.against)
    return others


def _against(name: str) -> Factory:
    module, _, attribute = name.partition(":")
    if not attribute:
        sys.exit(f"--against {name}: must have the form MODULE:FACTORY")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        sys.exit(f"--against {name}: {error}")


def _rows(
    case: BenchmarkCase,
    others: Mapping[str, Factory],
    rounds: int,
    machine: Machine,
    stages: dict[str, list[tuple[float, float]]],
) -> Iterator[list[str]]:
    """Yield the rows of one stage; append each engine's median, and torch's, to `stages`."""
    part = case.stage
    _tell(f"{part}: making torch")
    program = case.program()
    program.pack()
    gc.collect()
    work = case.work(program)
    runner = SegmentRunner(program)
    mine = through(case, program, runner)
    segments = by_segment(case, program, runner)
    own, *alone = _interleaved([mine, *segments.values()], rounds, f"{part}: torch")
    for segment, times in zip(segments, alone, strict=True):
        figures = _figures([work[segment]], times, machine)
        yield ["torch", segment, _milliseconds(times), "", "", *figures, ""]
    figures = _figures(list(work.values()), own, machine)
    yield ["torch", part, _milliseconds(own), "1.000", "1.000", *figures, ""]
    expected = mine()
    for name, make in others.items():
        _tell(f"{part}: making {name}")
        theirs = make(part, case)
        found = theirs()
        difference = ""
        if name in ENGINES:
            difference = f"{float((found.float() - expected.float()).abs().max()):.1e}"
        base, times = _interleaved([mine, theirs], rounds, f"{part}: {name}")
        stages.setdefault(name, []).append((median(times), median(base)))
        yield [
            name,
            part,
            _milliseconds(times),
            _ratio(times, base),
            _ratio(base, times),
            *[""] * 4,
            difference,
        ]
        del theirs, found
        gc.collect()


def _whole(stages: Mapping[str, list[tuple[float, float]]]) -> Iterator[list[str]]:
    """Yield a row per engine for the sum of its stages, next to that of torch in the same runs."""
    for name, medians in stages.items():
        theirs, mine = (sum(column) for column in zip(*medians, strict=True))
        ratios = [f"{theirs / mine:.3f}", f"{mine / theirs:.3f}"]
        yield [name, "whole", f"{1e3 * theirs:.1f}", *ratios, *[""] * 5]


def _figures(work: Sequence[SegmentWork], times: Sequence[float], machine: Machine) -> list[str]:
    """Return GB, both floors and the share of segments that run one after the other."""
    floor = sum(machine.floor(each) for each in work)
    return [
        f"{sum(each.nbytes for each in work) / 1e9:.2f}",
        f"{1e3 * sum(map(machine.reading, work)):.1f}",
        f"{1e3 * sum(map(machine.computing, work)):.1f}",
        f"{100 * floor / median(times):.0f} %",
    ]


def _interleaved(runs: Sequence[Run], rounds: int, label: str) -> list[list[float]]:
    """Return the seconds of every run in every round, after one warm-up run each."""
    from tqdm import tqdm

    for run in runs:
        run()
    bar = tqdm(range(rounds), desc=label, file=sys.stderr, leave=False, disable=None)
    measured = [[_seconds(run) for run in runs] for _ in bar]
    return [list(each) for each in zip(*measured, strict=True)]


def _seconds(run: Run) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _milliseconds(values: Sequence[float]) -> str:
    return f"{1e3 * median(values):.1f}"


def _ratio(values: Sequence[float], base: Sequence[float]) -> str:
    """Return the median ratio of runs in the same round."""
    return f"{median(a / b for a, b in zip(values, base, strict=True)):.3f}"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
