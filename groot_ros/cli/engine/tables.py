# SPDX-License-Identifier: Apache-2.0
"""Tables and lines that `groot-ros engine` prints."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from groot_ros.evaluation.table import format_table

if TYPE_CHECKING:
    from groot_ros.export.accuracy import Accuracy
    from groot_ros.export.latency import Latency
    from groot_ros.runtime.manifest import Manifest
    from groot_ros.runtime.reference_outputs import ValidationResult


_LEGEND = (
    "whole: from images and state to actions, including the work on the host.\n"
    "Segments are timed one by one, each waited for before the next, so they do not add up."
)


def describe(manifest: "Manifest") -> str:
    """Return a description of an engine directory, several lines."""
    segments = ", ".join(
        f"{name} ({files.quantised or manifest.precision}"
        + (", TensorRT built)" if files.plan else ")")
        for name, files in manifest.segments.items()
    )
    versions = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
    return (
        f"{manifest.family} checkpoint {manifest.checkpoint_sha256[:12]}, embodiment "
        f"{manifest.embodiment}, steps {', '.join(map(str, manifest.steps))}, exported "
        f"{manifest.date}\n"
        f"segments: {segments}; attention {manifest.attention}; "
        f"tolerance {manifest.tolerance:.2g}\n"
        f"opset {manifest.opset}, made with {versions or 'unknown versions'}"
    )


def accuracy_tables(accuracy: "Accuracy", source: str) -> str:
    """Return tables of errors by segment and denoising step, if measured, and by joint.

    Args:
        accuracy: the errors.
        source: description of the observations' source.

    """
    from groot_ros.export.reference_cases import describe_source

    joints = format_table(
        ["joint or column", "max abs", "unit"],
        [[f"{j.group}.{j.name}", f"{j.max_abs:.2e}", j.unit] for j in accuracy.joints],
    )
    if any(j.unit == "1" for j in accuracy.joints):
        joints += "\nunit 1: as in the checkpoint's data; give --robot for rad and m"
    shown = describe_source(accuracy.observations, source)
    joints += f"\nagainst engine {accuracy.reference} in float32, over {shown}"
    if not accuracy.segments:
        return joints
    segments = format_table(
        ["segment, exact inputs", "MSE", "cosine", "max abs"],
        [
            [name, f"{f.mse:.2e}", f"{f.cosine:.8f}", f"{f.max_abs:.2e}"]
            for name, f in accuracy.segments.items()
        ],
    )
    steps = format_table(
        ["after denoising step", "MSE", "cosine", "max abs"],
        [
            [str(i), f"{f.mse:.2e}", f"{f.cosine:.8f}", f"{f.max_abs:.2e}"]
            for i, f in enumerate(accuracy.steps)
        ],
    )
    return (
        f"{segments}\n\n{steps}\ngrowth of the MSE from the first step to the last: "
        f"{_times(accuracy.growth)}\n\n{joints}"
    )


def validation_line(engine: str, result: "ValidationResult") -> str:
    """Return a line with the result of an engine's validation."""
    word = "VALIDATED" if result.validated else "NOT VALIDATED"
    return f"{word}: engine {engine}, {result}, shortest run {1e3 * result.seconds:.1f} ms"


def latency_table(
    measured: Mapping[str, tuple["Latency", "Accuracy", Mapping[str, str]]],
) -> str:
    """Return a table with one row per engine.

    It shows the errors of the last segment with exact inputs and of the actions, see `Accuracy`.

    Args:
        measured: engine -> (latency, accuracy, stage -> runtime and precision).

    """
    first = next(iter(measured.values()))[0]
    segments = list(
        dict.fromkeys(n for latency, _, _ in measured.values() for n in latency.segments)
    )
    last = segments[-1] if segments else ""
    header = [
        "engine",
        *(f"{stage} by" for stage in first.stages),
        *(f"{name} ms" for name in segments),
        *(f"{name} ms" for name in first.stages),
        "whole ms",
        "Hz",
        *((f"{last} MSE", f"{last} cosine") if last else ()),
        "actions MSE",
        "against",
    ]
    rows = []
    for engine, (latency, accuracy, executed) in measured.items():
        errors = accuracy.segments.get(last)
        rows.append(
            [
                engine,
                *executed.values(),
                *(_ms(latency.segments.get(name)) for name in segments),
                *(_ms(seconds) for seconds in (*latency.stages.values(), latency.whole)),
                f"{latency.hertz:.1f}",
                *((f"{errors.mse:.1e}", f"{errors.cosine:.6f}") if errors else ("-", "-"))[
                    : 2 if last else 0
                ],
                f"{accuracy.actions.mse:.1e}",
                accuracy.reference,
            ]
        )
    return f"{format_table(header, rows)}\n{_LEGEND}"


def step_table(measured: Mapping[str, "Accuracy"]) -> str:
    """Return a table with the MSE after every denoising step and its growth, by engine."""
    count = max(len(accuracy.steps) for accuracy in measured.values())
    header = ["engine", *(f"step {i} MSE" for i in range(count)), "growth"]
    rows = [
        [
            engine,
            *(f"{f.mse:.1e}" for f in accuracy.steps),
            *["-"] * (count - len(accuracy.steps)),
            _times(accuracy.growth),
        ]
        for engine, accuracy in measured.items()
    ]
    return format_table(header, rows)


def hardware_row(
    device: str,
    jetpack: str,
    tensorrt: str,
    engine: str,
    precision: str,
    latency: "Latency",
    date: str,
) -> str:
    """Return a row for the table of inference times in docs/reference/hardware.md."""
    times = (*latency.segments.values(), *latency.stages.values(), latency.whole)
    cells = [device, jetpack or "-", tensorrt or "-", engine, precision]
    cells += [f"{1e3 * seconds:.2f}" for seconds in times] + [date]
    return f"| {' | '.join(cells)} |"


def hardware_header(latency: "Latency") -> str:
    """Return the header of the table of `hardware_row`."""
    names = ["device", "JetPack", "TensorRT", "engine", "precision"]
    names += [f"{n} ms" for n in (*latency.segments, *latency.stages, "whole")] + ["date"]
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.1f}"


def _times(growth: float) -> str:
    return f"{growth:.2f}x" if math.isfinite(growth) else "-"
