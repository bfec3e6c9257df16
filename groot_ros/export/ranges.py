"""Calibration: how large the inputs of every product become over real observations."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from groot_ros.models.gr00t_n1d6 import draw_noise
from groot_ros.processing import ModelInputs
from groot_ros.runtime.gr00t_n1d6 import StagedModel, TorchRunner
from groot_ros.runtime.staged_engine import StagedEngine

#: The first and last products of a stage are small, and errors there reach the actions undamped.
SKIPPED = r"embed|encode2?|decode2?|state[12]|second"
#: Share of an input's values that its range covers, unless asked otherwise.
PERCENTILE = 99.99
METHODS = ("percentile", "max")
#: torch.quantile takes no more.
_MOST_VALUES = 2**23


@dataclass(frozen=True)
class Product:
    """One linear layer as it was seen.

    Attributes:
        name: of the module in its stage.
        weight: [out, in], float32.
        largest: that its input is allowed to be; 0 where the layer is to stay as it is.

    """

    name: str
    weight: Tensor
    largest: float


def calibrate(
    fast: StagedModel,
    inputs: Sequence[ModelInputs],
    steps: int,
    *,
    method: str = "percentile",
    skipped: str = SKIPPED,
    progress: Callable[[float], None] = lambda fraction: None,
) -> dict[str, list[Product]]:
    """Stage -> its linear layers in the order in which they run.

    Args:
        fast: all four stages in float32, not packed.
        inputs: batches of one.
        steps: denoising steps; every one of them counts.
        method: "max" covers every value, "percentile" `PERCENTILE` of each run's.
        skipped: regular expression; layers whose whole last name it matches stay as they are.
        progress: called with the fraction that is done.

    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not '{method}'")
    largest: dict[str, dict[str, float]] = {name: {} for name in fast.modules}
    engine = StagedEngine("calibration", fast.host, TorchRunner(fast))
    config = fast.host.config
    with ExitStack() as hooks:
        for stage, module in fast.modules.items():
            for name, layer in module.named_modules():
                if isinstance(layer, nn.Linear):
                    hook = _hook(largest[stage], name, method)
                    hooks.callback(layer.register_forward_pre_hook(hook).remove)
        for number, one in enumerate(inputs):
            noise = draw_noise((1, config.action_horizon, config.max_action_dim), number).numpy()
            engine.run(one, noise, steps)
            progress((number + 1) / len(inputs))
    return {
        stage: [_product(fast.modules[stage], name, seen, skipped) for name, seen in found.items()]
        for stage, found in largest.items()
    }


def _hook(
    largest: dict[str, float], name: str, method: str
) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        sizes = inputs[0].detach().float().abs().flatten()
        if method == "max" or sizes.numel() > _MOST_VALUES:
            value = float(sizes.max())
        else:
            value = float(torch.quantile(sizes, PERCENTILE / 100.0))
        # The first to come stays first: a dict keeps the order of the layers.
        largest[name] = max(largest.get(name, 0.0), value)

    return look


def _product(stage: nn.Module, name: str, largest: float, skipped: str) -> Product:
    layer: nn.Module = stage.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    skip = re.fullmatch(skipped, name.rpartition(".")[2]) is not None
    return Product(name, layer.weight.detach().cpu(), 0.0 if skip else largest)


def coverage(products: Mapping[str, Sequence[Product]]) -> dict[str, float]:
    """Stage -> share of the weights of its products that will be quantised."""
    shares = {}
    for stage, layers in products.items():
        total = sum(layer.weight.numel() for layer in layers)
        done = sum(layer.weight.numel() for layer in layers if layer.largest)
        shares[stage] = done / total if total else 0.0
    return shares
