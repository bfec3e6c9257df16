# SPDX-License-Identifier: Apache-2.0
"""Train a small GR00T N1.6 from random weights on a CPU, in two stages.

A real GR00T starts from a pretrained vision-language model that stays frozen while the action head
is trained. Here stage one, "grounding", trains the backbone with two linear read-outs that are
discarded afterwards: one predicts from each image token what its cell shows, the other predicts the
goal of the instruction from every token after it. Stage two trains the head by flow matching on the
backbone's features, which are computed once.
"""

import copy
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from groot_ros.core.program import Progress
from groot_ros.families.gr00t_n1d6.image_pipeline import ImagePipeline
from groot_ros.families.gr00t_n1d6.network import Gr00tN1d6, build_model
from groot_ros.families.gr00t_n1d6.new_checkpoint import CheckpointConfig
from groot_ros.families.gr00t_n1d6.processor import Processor
from groot_ros.families.gr00t_n1d6.processor_config import save_processor
from groot_ros.families.gr00t_n1d6.small_checkpoint import initialise
from groot_ros.families.gr00t_n1d6.training import flow_matching_loss
from groot_ros.families.gr00t_n1d6.weights import save_model
from groot_ros.families.training import Demonstrations
from groot_ros.layers.eagle import BackboneOutput
from groot_ros.layers.patches import normalise_pixels
from groot_ros.processing.tokenizer import (
    TextTokenizer,
    write_byte_tokenizer,
)


class SmallTrainer:
    """See `families.family.SmallTrainer`."""

    def __init__(self, config: CheckpointConfig, seed: int) -> None:
        self._config = config
        eagle = config.network.eagle
        self.cell = eagle.vision.patch_size * eagle.shuffle
        self._images = ImagePipeline.of(config.processor, self.cell)
        self.model = build_model(config.network, seed=seed)
        initialise(self.model, seed)
        self._batches: tuple[Demonstrations, Batches] | None = None

    def transform(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `families.family.SmallTrainer.transform`."""
        return self._images(image)

    def train_backbone(
        self, data: Demonstrations, steps: int, generator: torch.Generator, report: Progress
    ) -> None:
        """Run stage one; see `families.family.SmallTrainer.train_backbone`."""
        _train_backbone(self.model, self._encoded(data), steps, generator, report)

    def train_head(
        self, data: Demonstrations, steps: int, generator: torch.Generator, report: Progress
    ) -> None:
        """Run stage two; see `families.family.SmallTrainer.train_head`."""
        _train_head(self.model, self._encoded(data), steps, generator, report)

    def save(self, path: Path) -> None:
        """Write the checkpoint directory, with the byte tokenizer."""
        self._save_processor(path)
        save_model(self.model, path)

    def _save_processor(self, path: Path) -> None:
        save_processor(self._config.processor, self._config.statistics, path)
        write_byte_tokenizer(path)

    def _encoded(self, data: Demonstrations) -> "Batches":
        if self._batches is None or self._batches[0] is not data:
            (tag,) = self._config.processor.embodiments
            with tempfile.TemporaryDirectory() as folder:
                directory = Path(folder)
                self._save_processor(directory)
                tokenizer = TextTokenizer.load(directory)
                processor = Processor.load(directory, tag, tokenizer, self.cell)
            self._batches = data, Batches(processor, data)
        return self._batches[1]


@dataclass(frozen=True)
class Target:
    """State and target actions of B samples for the head.

    Attributes:
        state: [B, 1, max_state_dim].
        action, action_mask: [B, H, max_action_dim].
        embodiment: int64 [B].

    """

    state: Tensor
    action: Tensor
    action_mask: Tensor
    embodiment: Tensor


@dataclass(frozen=True)
class Batch:
    """Inputs and targets of B samples for the backbone.

    Attributes:
        input_ids, attention_mask: int64 [B, S], left padded.
        images: one tensor [B * views, 3, h, w] in [-1, 1].
        goal: [B, K] from `Demonstrations.goals`, scaled to zero mean and unit deviation.
        cells: [B, image tokens, C] from `Demonstrations.cells`, scaled to unit deviation.

    """

    input_ids: Tensor
    attention_mask: Tensor
    images: list[Tensor]
    goal: Tensor
    cells: Tensor


class Batches:
    """Demonstrations, encoded once by the processor that inference uses.

    Samples are indexed by state (`rows`) and instruction (`texts`), int64 [B] each.
    """

    def __init__(self, processor: Processor, data: Demonstrations) -> None:
        self._images = torch.from_numpy(data.images)
        tokens = [processor.images.tokens(image) for image in data.images[0]]
        prompts = [processor.tokens(text, tokens) for text in data.instructions]
        length = max(map(len, prompts))
        pad = processor.tokenizer.pad_id
        self._ids = torch.tensor([[pad] * (length - len(p)) + p for p in prompts])
        self._mask = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in prompts])
        codec = processor.codec
        state, action, mask = [], [], []
        for row in range(len(data.images)):
            groups = {name: values[row][None] for name, values in data.state.items()}
            state.append(codec.encode_state(groups))
            encoded = [
                codec.encode_action({n: v[row, text] for n, v in data.action.items()}, groups)
                for text in range(len(prompts))
            ]
            action.append([values for values, _ in encoded])
            mask.append([used for _, used in encoded])
        self._state = torch.from_numpy(np.array(state))
        self._action = torch.from_numpy(np.array(action))
        self._action_mask = torch.from_numpy(np.array(mask))
        goals = torch.from_numpy(data.goals).float()
        self._goal = (goals - goals.mean((0, 1))) / goals.std((0, 1))
        self._cells = torch.from_numpy(data.cells / data.cells.std((0, 1)))

    def __len__(self) -> int:
        return len(self._state)

    @property
    def instructions(self) -> int:
        """Return the number of instructions per state."""
        return len(self._ids)

    @property
    def goal_width(self) -> int:
        """Return the number of values per goal."""
        return self._goal.shape[-1]

    @property
    def cell_width(self) -> int:
        """Return the number of target values per image token."""
        return self._cells.shape[-1]

    def draw_indices(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw random states, each with a random instruction; returns rows and texts."""
        rows = torch.randint(len(self), (size,), generator=generator)
        return rows, torch.randint(self.instructions, (size,), generator=generator)

    def draw(self, size: int, generator: torch.Generator) -> Batch:
        """Draw a random batch for the backbone."""
        return self.select(*self.draw_indices(size, generator))

    def select(self, rows: Tensor, texts: Tensor) -> Batch:
        """Return these samples as a batch for the backbone."""
        return Batch(
            self._ids[texts],
            self._mask[texts],
            [normalise_pixels(self._images[rows].flatten(0, 1))],
            self._goal[rows, texts],
            self._cells[rows],
        )

    def target(self, rows: Tensor, texts: Tensor) -> Target:
        """Return the state and target actions of these samples for the head."""
        return Target(
            self._state[rows],
            self._action[rows, texts],
            self._action_mask[rows, texts],
            torch.zeros_like(rows),
        )


_GROUNDING_BATCH, _GROUNDING_RATE = 16, 2e-3
_HEAD_BATCH, _HEAD_RATE = 64, 2e-3
_FEATURE_BATCH = 64


def _train_backbone(
    model: Gr00tN1d6, data: Batches, steps: int, generator: torch.Generator, report: Progress
) -> None:
    """Run stage one and store the averaged weights in the model's backbone."""
    width = model.config.backbone_embedding_dim
    goal, cells = nn.Linear(width, data.goal_width), nn.Linear(width, data.cell_width)
    optimiser = Optimiser([model.backbone, goal, cells], steps, _GROUNDING_RATE)
    for _ in range(steps):
        batch = data.draw(_GROUNDING_BATCH, generator)
        seen = model.backbone(batch.input_ids, batch.attention_mask, batch.images)
        where = (goal(seen.features) - batch.goal[:, None]) ** 2
        # Attention is causal and the instruction comes before the images, so tokens from the first
        # image token on can predict the goal. Only the last token has seen both completely.
        behind = seen.image_mask.cumsum(1) > 0
        what = (cells(seen.features[seen.image_mask]) - batch.cells.flatten(0, 1)) ** 2
        report(optimiser.step(where[behind].mean() + where[:, -1].mean() + what.mean()))
    model.backbone.load_state_dict(optimiser.averaged[0].state_dict())


def _train_head(
    model: Gr00tN1d6, data: Batches, steps: int, generator: torch.Generator, report: Progress
) -> None:
    """Run stage two and store the averaged weights in the model's action head."""
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
    """Backbone features of each state with each instruction, in half precision.

    Attributes:
        values: float16 [instructions, N, S, C].
        attention_mask, image_mask: bool [instructions, S].

    """

    values: Tensor
    attention_mask: Tensor
    image_mask: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, model: Gr00tN1d6, data: Batches) -> "Features":
        """Compute the features of all states with all instructions."""
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
        """Return the features of samples; `rows` and `texts` are int64 [B]."""
        return BackboneOutput(
            self.values[texts, rows].float(), self.attention_mask[texts], self.image_mask[texts]
        )


_WARM_UP = 50
_FINAL_SHARE = 0.02
_AVERAGE_KEEP = 0.998


class Optimiser:
    """Optimiser that trains modules in place and averages their weights over time.

    Attributes:
        averaged: a copy of each module with the averaged weights, which are the result.

    """

    def __init__(self, modules: list[nn.Module], steps: int, peak_rate: float) -> None:
        self._modules = modules
        self.averaged = [copy.deepcopy(module).requires_grad_(False).eval() for module in modules]
        self._parameters = [p for module in modules for p in module.parameters()]
        self._steps, self._peak_rate, self._done = steps, peak_rate, 0
        self._adam = torch.optim.AdamW(
            self._parameters, lr=peak_rate, betas=(0.9, 0.98), weight_decay=1e-4
        )

    def step(self, loss: Tensor) -> float:
        """Run one update and return the loss as a float."""
        for group in self._adam.param_groups:
            group["lr"] = self._peak_rate * rate_share(self._done, self._steps)
        self._adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._adam.step()
        self._done += 1
        # A short memory at first, so that the initial weights do not stay in the average.
        self._average(min(_AVERAGE_KEEP, (1 + self._done) / (10 + self._done)))
        return float(loss.detach())

    @torch.no_grad()
    def _average(self, keep: float) -> None:
        for kept, module in zip(self.averaged, self._modules, strict=True):
            for target, source in zip(kept.parameters(), module.parameters(), strict=True):
                target.lerp_(source, 1.0 - keep)


def rate_share(step: int, steps: int) -> float:
    """Return the learning rate as a share of its peak: linear warm-up, then cosine decay."""
    fall = 0.5 * (1.0 + math.cos(math.pi * min(step, steps) / steps))
    return min(1.0, (step + 1) / _WARM_UP) * (_FINAL_SHARE + (1.0 - _FINAL_SHARE) * fall)
