"""What `groot-ros engine` prints."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from groot_ros.evaluation.table import format_table
from groot_ros.runtime.names import STAGES

if TYPE_CHECKING:
    from groot_ros.export.accuracy import Accuracy
    from groot_ros.export.latency import Latency
    from groot_ros.runtime.manifest import Manifest
    from groot_ros.runtime.reference_outputs import ValidationResult


_READ_AS = (
    "BB (backbone): vision and language; head: context and all denoising steps; E2E (whole): "
    "images and state to actions,\nwith the host's work before, between and after. Stages are "
    "timed on their own, one waited for after the other, so they do not add up."
)


def describe(manifest: "Manifest") -> str:
    """What an engine directory holds."""
    stages = ", ".join(
        f"{name} ({files.quantised or manifest.precision}"
        + (", TensorRT built)" if files.plan else ")")
        for name, files in manifest.stages.items()
    )
    versions = ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
    return (
        f"checkpoint {manifest.checkpoint_sha256[:12]}, embodiment {manifest.embodiment}, "
        f"steps {', '.join(map(str, manifest.steps))}, exported {manifest.date}\n"
        f"stages: {stages}; attention {manifest.attention}; tolerance {manifest.tolerance:.2g}\n"
        f"opset {manifest.opset}, made with {versions or 'unknown versions'}"
    )


def accuracy_tables(accuracy: "Accuracy", source: str) -> str:
    """Errors a stage and a denoising step, where the reference has them too, and a joint."""
    from groot_ros.export.observations import in_words

    joints = format_table(
        ["joint or column", "max abs", "unit"],
        [[f"{j.group}.{j.name}", f"{j.max_abs:.2e}", j.unit] for j in accuracy.joints],
    )
    if any(j.unit == "1" for j in accuracy.joints):
        joints += "\nunit 1: as in the checkpoint's data; --robot gives rad and m"
    seen = in_words(accuracy.observations, source)
    joints += f"\nagainst engine {accuracy.reference} in float32, over {seen}"
    if not accuracy.stages:
        return joints
    stages = format_table(
        ["stage, fed exactly", "MSE", "cosine", "max abs"],
        [
            [name, f"{f.mse:.2e}", f"{f.cosine:.8f}", f"{f.max_abs:.2e}"]
            for name, f in accuracy.stages.items()
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
        f"{stages}\n\n{steps}\ngrowth of the MSE from the first step to the last: "
        f"{_times(accuracy.growth)}\n\n{joints}"
    )


def verdict_line(engine: str, verdict: "ValidationResult") -> str:
    """Passed or not, and by how much."""
    word = "PROVEN" if verdict.proven else "NOT PROVEN"
    return f"{word}: engine {engine}, {verdict}, shortest run {1e3 * verdict.seconds:.1f} ms"


def latency_table(
    measured: Mapping[str, tuple["Latency", "Accuracy", tuple[str, str]]],
) -> str:
    """Engine -> (latency, accuracy, who executes backbone and head) as one row each.

    The errors are those of the denoising stage fed exactly, and of the actions at the end; see
    `Accuracy` for what they are against.
    """
    header = [
        "Mode",
        "Backbone",
        "Head",
        *(f"{name} ms" for name in STAGES),
        "BB ms",
        "head ms",
        "E2E ms",
        "Hz",
        "denoise MSE",
        "denoise cos-sim",
        "E2E MSE",
        "against",
    ]
    rows = []
    for mode, (latency, accuracy, executed) in measured.items():
        denoise = accuracy.stages.get("denoise")
        rows.append(
            [
                mode,
                *executed,
                *(f"{1e3 * latency.stages[n]:.1f}" if latency.stages else "-" for n in STAGES),
                *(f"{1e3 * s:.1f}" for s in (latency.backbone, latency.head, latency.whole)),
                f"{latency.hertz:.1f}",
                *((f"{denoise.mse:.1e}", f"{denoise.cosine:.6f}") if denoise else ("-", "-")),
                f"{accuracy.actions.mse:.1e}",
                accuracy.reference,
            ]
        )
    return f"{format_table(header, rows)}\n{_READ_AS}"


def step_table(measured: Mapping[str, "Accuracy"]) -> str:
    """Engine -> MSE after every denoising step, and its growth."""
    count = max(len(accuracy.steps) for accuracy in measured.values())
    header = ["Mode", *(f"Step {i} MSE" for i in range(count)), "Growth"]
    rows = [
        [
            mode,
            *(f"{f.mse:.1e}" for f in accuracy.steps),
            *["-"] * (count - len(accuracy.steps)),
            _times(accuracy.growth),
        ]
        for mode, accuracy in measured.items()
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
    """A row of the table of inference times in docs/reference/hardware.md."""
    stages = [f"{1e3 * latency.stages[n]:.2f}" if latency.stages else "-" for n in STAGES]
    times = [*stages, *(f"{1e3 * s:.2f}" for s in (latency.backbone, latency.head, latency.whole))]
    cells = [device, jetpack or "-", tensorrt or "-", engine, precision, *times, date]
    return f"| {' | '.join(cells)} |"


def hardware_header() -> str:
    """The head of that table."""
    names = ["device", "JetPack", "TensorRT", "engine", "precision"]
    names += [f"{n} ms" for n in (*STAGES, "backbone", "head", "whole")] + ["date"]
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def _times(growth: float) -> str:
    return f"{growth:.2f}x" if math.isfinite(growth) else "-"
