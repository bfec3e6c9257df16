"""The two stages that train the demo model on a CPU in minutes.

A real GR00T starts from a vision-language model that can already read and see, and keeps it
frozen while the action head learns. The same here: stage one, "grounding", teaches the backbone
to tell, through linear read-outs that are thrown away afterwards, from every image token what of
each cube lies in its cell, and from every token behind the instruction where that leads. Stage
two teaches the head by flow matching on the backbone's features, computed once.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from groot_ros.models.gr00t_n1d6 import BackboneOutput, Gr00tN1d6, flow_matching_loss
from groot_ros.training.demo_batches import DemoBatches
from groot_ros.training.optimiser import Optimiser

#: Called after each step with the loss.
Report = Callable[[float], None]

_GROUNDING_BATCH, _GROUNDING_RATE = 16, 2e-3
_HEAD_BATCH, _HEAD_RATE = 64, 2e-3
_FEATURE_BATCH = 64


def train_backbone(
    model: Gr00tN1d6, data: DemoBatches, steps: int, generator: torch.Generator, report: Report
) -> None:
    """Stage one; the model's backbone holds the result."""
    width = model.config.backbone_embedding_dim
    goal, cells = nn.Linear(width, data.goal_width), nn.Linear(width, data.cell_width)
    optimiser = Optimiser([model.backbone, goal, cells], steps, _GROUNDING_RATE)
    for _ in range(steps):
        batch = data.draw(_GROUNDING_BATCH, generator)
        seen = model.backbone(batch.input_ids, batch.attention_mask, batch.images)
        where = (goal(seen.features) - batch.goal[:, None]) ** 2
        # The instruction comes before the pictures, and attention is causal; the last token has
        # seen all of both.
        behind = seen.image_mask.cumsum(1) > 0
        what = (cells(seen.features[seen.image_mask]) - batch.cells.flatten(0, 1)) ** 2
        report(optimiser.step(where[behind].mean() + where[:, -1].mean() + what.mean()))
    model.backbone.load_state_dict(optimiser.averaged[0].state_dict())


def train_head(
    model: Gr00tN1d6, data: DemoBatches, steps: int, generator: torch.Generator, report: Report
) -> None:
    """Stage two; the model's action head holds the result."""
    features = Features.of(model, data)
    optimiser = Optimiser([model.action_head], steps, _HEAD_RATE)
    for _ in range(steps):
        rows, texts = data.draw_indices(_HEAD_BATCH, generator)
        target = data.target(rows, texts)
        loss = flow_matching_loss(
            model.action_head,
            features.of_samples(rows, texts),
            target.state,
            target.action,
            target.action_mask,
            target.embodiment,
            generator=generator,
        ).loss
        report(optimiser.step(loss))
    model.action_head.load_state_dict(optimiser.averaged[0].state_dict())


@dataclass(frozen=True)
class Features:
    """What the backbone makes of each state with each instruction, in half precision.

    Attributes:
        values: float16 [instructions, N, S, C].
        attention_mask, image_mask: bool [instructions, S].

    """

    values: Tensor
    attention_mask: Tensor
    image_mask: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, model: Gr00tN1d6, data: DemoBatches) -> "Features":
        """Run the backbone over everything."""
        values, attention, image = [], [], []
        for text in range(data.instructions):
            parts = []
            for rows in torch.arange(len(data)).split(_FEATURE_BATCH):
                batch = data.select(rows, torch.full_like(rows, text))
                seen = model.backbone(batch.input_ids, batch.attention_mask, batch.images)
                parts.append(seen.features.half())
            values.append(torch.cat(parts))
            attention.append(seen.attention_mask[0])
            image.append(seen.image_mask[0])
        return cls(torch.stack(values), torch.stack(attention), torch.stack(image))

    def of_samples(self, rows: Tensor, texts: Tensor) -> BackboneOutput:
        """What the head sees of samples, int64 [B] each."""
        return BackboneOutput(
            self.values[texts, rows].float(), self.attention_mask[texts], self.image_mask[texts]
        )
