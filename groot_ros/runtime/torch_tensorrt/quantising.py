# SPDX-License-Identifier: Apache-2.0
"""Quantise the linear layers of segments with NVIDIA's Model Optimizer, on stored observations."""

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from groot_ros.core.program import ModelInputs, Program
from groot_ros.runtime.program_engine import Executor, ProgramEngine, SegmentRunner

#: Element type of the products -> name of the Model Optimizer's configuration.
CONFIGURATIONS = {"int8": "INT8_DEFAULT_CFG", "fp8": "FP8_DEFAULT_CFG"}


def quantise_segments(
    program: Program,
    names: Collection[str],
    observations: Sequence[ModelInputs],
    steps: int,
    kind: str,
) -> None:
    """Quantise the products of segments in place; ranges cover the values of the observations.

    Layers with the attribute `keep_precision` keep their precision.

    Args:
        program: all segments, not packed.
        names: segments to quantise.
        observations: model inputs, including random ones.
        steps: number of denoising steps; all of them are measured.
        kind: "int8" or "fp8".

    """
    import modelopt.torch.quantization as mtq

    configuration = getattr(mtq, CONFIGURATIONS[kind])
    calls = record_inputs(program, names, observations, steps)
    for name in names:
        module = program.modules[name]
        kept = tuple(f"{path}." for path in kept_layers(module))

        def calibrate(model: nn.Module, inputs: Sequence[Any] = calls[name]) -> None:
            for given in inputs:
                model(*given)

        with torch.no_grad():
            mtq.quantize(module, configuration, calibrate)
        if kept:
            mtq.disable_quantizer(module, lambda path, kept=kept: path.startswith(kept))


def kept_layers(module: nn.Module) -> list[str]:
    """Return the names of the layers that keep their precision."""
    return [n for n, layer in module.named_modules() if getattr(layer, "keep_precision", False)]


def quantised_export() -> AbstractContextManager[None]:
    """Return the context in which quantised modules are exported as Q/DQ pairs."""
    from modelopt.torch.quantization.utils import export_torch_mode

    return export_torch_mode()


def record_inputs(
    program: Program, names: Collection[str], observations: Sequence[ModelInputs], steps: int
) -> dict[str, list[tuple[Tensor, ...]]]:
    """Run a program on observations; return segment -> copies of the inputs of every run."""
    calls: dict[str, list[tuple[Tensor, ...]]] = {name: [] for name in names}
    runner = SegmentRunner(program)

    def wrap(name: str, executor: Executor) -> Executor:
        def run(*inputs: Tensor) -> Any:
            if name in calls:
                calls[name].append(inputs)
            return executor(*inputs)

        return run

    engine = ProgramEngine("calibration", program, runner)
    with runner.wrapped(wrap):
        for inputs in observations:
            engine.run(inputs, steps)
    # Tensors of inference mode cannot be used outside of it.
    return {name: [tuple(t.clone() for t in call) for call in made] for name, made in calls.items()}
