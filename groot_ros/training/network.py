# SPDX-License-Identifier: Apache-2.0
"""The network of a run: what is trained, its optimiser, and the checkpoints that it gives."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from groot_ros.families.training import ChunkTrainer, Trainer
from groot_ros.training.auxiliary import LocationReadout
from groot_ros.training.settings import TrainSettings

if TYPE_CHECKING:
    from peft import LoraConfig

_READOUT = "readout."


class LossModule(nn.Module):
    """Module whose forward pass is the loss, so that data parallelism can wrap it."""

    def __init__(self, trainer: Trainer, readout: LocationReadout | None, weight: float) -> None:
        """Wrap a trainer; `weight` is that of the auxiliary loss."""
        super().__init__()
        self.model = trainer.model
        self.readout = readout
        self._trainer, self._weight = trainer, weight

    def forward(
        self, batch: Any, draws: Mapping[str, Tensor], encoded: Mapping[str, Tensor] | None
    ) -> dict[str, Tensor]:
        """Return "loss", and its parts by name."""
        if self.readout is not None:
            encoded = cast(ChunkTrainer, self._trainer).encode(batch)
        losses = dict(self._trainer.loss(batch, draws=draws, encoded=encoded))
        if self.readout is not None:
            assert encoded is not None
            grids = cast(ChunkTrainer, self._trainer).image_grids(batch)
            losses["auxiliary"] = self.readout.loss(
                encoded["features"], encoded["image_mask"], batch.labels, grids
            )
        if "auxiliary" in losses:
            losses["loss"] = losses["loss"] + self._weight * losses["auxiliary"]
        return losses


class Network:
    """Network of a run.

    Attributes:
        trainer: trainer of the family.
        module: gives the loss.
        parameters: trained parameters by name, the read-out's included.

    """

    def __init__(
        self,
        trainer: Trainer,
        settings: TrainSettings,
        readout: LocationReadout | None,
        lora_targets: str,
    ) -> None:
        """Set what is trained.

        Args:
            trainer: trainer of the family.
            settings: settings of the run.
            readout: layer of the auxiliary loss, None without.
            lora_targets: pattern of the names of the layers that LoRA adapts.

        Raises:
            ValueError: nothing is trained, or features are to be cached that change.

        """
        self.trainer = trainer
        trainer.parameter_groups({})
        self.lora: LoraConfig | None = None
        if settings.lora_rank:
            from groot_ros.training.lora import add_lora

            self.lora = add_lora(
                trainer.model,
                lora_targets,
                settings.lora_rank,
                settings.lora_alpha or 2 * settings.lora_rank,
                settings.lora_dropout,
                settings.seed,
            )
        own = {n: p for n, p in trainer.model.named_parameters() if p.requires_grad}
        if not own:
            raise ValueError("nothing is trained: set one of the tune_ settings to on")
        changing = [name for name in own if name.startswith("backbone.")]
        if settings.cache_features and changing:
            raise ValueError(
                f"cache_features computes the backbone once, but {changing[0]} is trained: set "
                "tune_llm and tune_visual to off, and tune_top_llm_layers to 0"
            )
        self.module = LossModule(trainer, readout, settings.auxiliary)
        self.parameters = dict(own)
        if readout is not None:
            own = {n: p for n, p in readout.named_parameters() if p.requires_grad}
            self.parameters |= {f"{_READOUT}{n}": p for n, p in own.items()}

    def optimiser(self, settings: TrainSettings) -> torch.optim.AdamW:
        """Return AdamW; biases and norms have no weight decay."""
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, parameter in self.parameters.items():
            bias = parameter.ndim < 2 or name.rpartition(".")[2] in ("b", "bias")
            (others if bias else matrices).append(parameter)
        return torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": settings.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
        )

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Set eval mode for a while."""
        modes = {module: module.training for module in self.module.modules()}
        self.module.eval()
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training

    def save(self, path: Path, values: Mapping[str, Tensor], adapter: Path) -> None:
        """Write a checkpoint in the vendor's layout, and the adapter in peft's.

        Args:
            path: directory of the checkpoint.
            values: trained parameters by name, such as averaged ones.
            adapter: directory of the adapter, if there is one.

        """
        own = {name: value for name, value in values.items() if not name.startswith(_READOUT)}
        if self.lora is not None:
            from groot_ros.training.lora import merged_weights, save_adapter

            save_adapter(self.lora, self.trainer.model, own, adapter)
            own = merged_weights(self.trainer.model, own)
        self.trainer.save(path, own)


def rate_share(step: int, steps: int, warmup: float) -> float:
    """Return the learning rate of a step, from 0, as a share of its peak.

    It rises linearly over the share `warmup` of the steps, then falls along a cosine to 0.
    """
    rising = max(1, round(warmup * steps)) if warmup else 0
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    return 0.5 * (1.0 + float(torch.cos(torch.tensor(torch.pi * done, dtype=torch.float64))))
