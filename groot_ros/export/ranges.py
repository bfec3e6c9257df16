# SPDX-License-Identifier: Apache-2.0
"""Calibration: measure the range of the inputs of each linear layer over observations."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from groot_ros.core.program import ModelInputs, Program
from groot_ros.runtime.program_engine import ProgramEngine, SegmentRunner

#: Percentage of an input's values that its range covers with method "percentile".
PERCENTILE = 99.99
METHODS = ("percentile", "max")
#: Largest number of values passed to torch.quantile, which accepts 2**24. For larger inputs the
#: range is their maximum.
_MOST_VALUES = 2**23


@dataclass(frozen=True)
class Product:
    """One linear layer and the range of its inputs.

    Attributes:
        name: name of the module in its segment.
        weight: [out, in], float32.
        largest: limit of the absolute value of its inputs; 0 if the layer keeps its precision.

    """

    name: str
    weight: Tensor
    largest: float


def calibrate(
    program: Program,
    inputs: Sequence[ModelInputs],
    steps: int,
    *,
    method: str = "percentile",
    progress: Callable[[float], None] = lambda fraction: None,
) -> dict[str, list[Product]]:
    """Return segment -> its linear layers, in the order in which they run.

    Args:
        program: all segments in float32, not packed.
        inputs: model inputs, including random ones.
        steps: number of denoising steps; all of them are measured.
        method: "max" covers all values, "percentile" `PERCENTILE` % of the values of each run.
        progress: called with the fraction that is done.

    Raises:
        ValueError: `method` is unknown.

    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not '{method}'")
    modules = program.modules
    largest: dict[str, dict[str, float]] = {name: {} for name in modules}
    engine = ProgramEngine("calibration", program, SegmentRunner(program))
    with ExitStack() as hooks:
        for segment, module in modules.items():
            for name, layer in module.named_modules():
                if isinstance(layer, nn.Linear):
                    hook = _hook(largest[segment], name, method)
                    hooks.callback(layer.register_forward_pre_hook(hook).remove)
        for number, one in enumerate(inputs):
            engine.run(one, steps)
            progress((number + 1) / len(inputs))
    return {
        segment: [_product(modules[segment], name, found) for name, found in seen.items()]
        for segment, seen in largest.items()
    }


def _hook(
    largest: dict[str, float], name: str, method: str
) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def record_range(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        sizes = inputs[0].detach().float().abs().flatten()
        if method == "max" or sizes.numel() > _MOST_VALUES:
            value = float(sizes.max())
        else:
            value = float(torch.quantile(sizes, PERCENTILE / 100.0))
        # A dict keeps the order of first insertion, in which the layers run.
        largest[name] = max(largest.get(name, 0.0), value)

    return record_range


def _product(segment: nn.Module, name: str, largest: float) -> Product:
    layer: nn.Module = segment.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    exempt = getattr(layer, "keep_precision", False)
    return Product(name, layer.weight.detach().cpu(), 0.0 if exempt else largest)


def coverage(products: Mapping[str, Sequence[Product]]) -> dict[str, float]:
    """Return segment -> share of its linear layers' weights that will be quantised, 0 to 1."""
    shares = {}
    for segment, layers in products.items():
        total = sum(layer.weight.numel() for layer in layers)
        done = sum(layer.weight.numel() for layer in layers if layer.largest)
        shares[segment] = done / total if total else 0.0
    return shares
