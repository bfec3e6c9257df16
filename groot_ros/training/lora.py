# SPDX-License-Identifier: Apache-2.0
"""Low-rank adapters of linear layers, through `peft`: added, merged for a checkpoint, saved."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from peft.tuners.lora import Linear
from torch import Tensor, nn

from groot_ros.checkpoint.weights import write_tensors

_ADAPTER = "default"
_BASE = ".base_layer."


def add_lora(
    model: nn.Module, targets: str, rank: int, alpha: int, dropout: float, seed: int
) -> LoraConfig:
    """Replace linear layers by ones with a trainable adapter; other parameters keep their state.

    Args:
        model: the network.
        targets: pattern of the names of the layers.
        rank: rank of the adapters.
        alpha: scale; the adapter counts alpha / rank.
        dropout: dropout of the adapters' inputs.
        seed: seed of the first matrices; the second ones are zero.

    Raises:
        ValueError: no layer has such a name.

    """
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets, bias="none"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model, adapter_name=_ADAPTER)
    for name, parameter in model.named_parameters():
        adapter = "lora_" in name
        parameter.requires_grad_(adapter or plain_name(name) in trained)
        if adapter:
            parameter.data = parameter.data.float()
    return config


def plain_name(name: str) -> str:
    """Return the name that a parameter has without adapters."""
    return name.replace(_BASE, ".")


def merged_weights(model: nn.Module, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a network without adapters that computes the same.

    Args:
        model: network, with or without adapters.
        values: trained parameters by name, such as averaged ones.

    Returns:
        Plain name -> value, of trained and adapted parameters.

    """
    result = {plain_name(n): v for n, v in values.items() if "lora_" not in n}
    for name, layer in lora_layers(model):
        down = values[f"{name}.lora_A.{_ADAPTER}.weight"]
        up = values[f"{name}.lora_B.{_ADAPTER}.weight"]
        base = layer.get_base_layer().get_parameter("weight").detach().float()
        result[f"{name}.weight"] = base + layer.scaling[_ADAPTER] * (up @ down)
    return result


def lora_layers(model: nn.Module) -> Iterator[tuple[str, Linear]]:
    """Yield name and layer of each adapted layer."""
    for name, module in model.named_modules():
        if isinstance(module, Linear):
            yield name, module


def save_adapter(
    config: LoraConfig, model: nn.Module, values: Mapping[str, Tensor], directory: Path
) -> None:
    """Write adapter_config.json and adapter_model.safetensors, as peft reads them."""
    directory.mkdir(parents=True, exist_ok=True)
    own = {n: v for n, v in values.items() if "lora_" in n}
    state = get_peft_model_state_dict(model, state_dict=own, adapter_name=_ADAPTER)
    tensors = {n: v.detach().cpu().contiguous() for n, v in state.items()}
    write_tensors(tensors, directory / "adapter_model.safetensors")
    config.save_pretrained(str(directory))
