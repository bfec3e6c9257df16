"""Demonstrations as the tensors that a training step takes."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groot_ros.processing import Processor
from groot_ros.robot import RobotContract
from groot_ros.runtime.tensors import normalise_pixels
from groot_ros.training.coloured_cells import describe_cells
from groot_ros.training.demo_data import DemoData
from groot_ros.training.demo_model import to_groups


@dataclass(frozen=True)
class Target:
    """What the head is taught, B samples: [B, 1, max_state_dim] and [B, H, max_action_dim]."""

    state: Tensor
    action: Tensor
    action_mask: Tensor
    embodiment: Tensor


@dataclass(frozen=True)
class Batch:
    """What the backbone sees and is taught, B samples.

    Attributes:
        input_ids, attention_mask: int64 [B, S], left padded.
        images: one tensor [B * views, 3, h, w] in [-1, 1].
        goal: [B, joints], scaled to zero mean and unit deviation.
        cells: [B, image tokens, WIDTH] of coloured_cells, scaled to unit deviation.

    """

    input_ids: Tensor
    attention_mask: Tensor
    images: list[Tensor]
    goal: Tensor
    cells: Tensor


class DemoBatches:
    """Encodes everything once, through the very processor that inference uses.

    Samples are indexed by state ("rows") and instruction ("texts"), int64 [B] each.
    """

    def __init__(self, processor: Processor, contract: RobotContract, data: DemoData) -> None:
        """The pictures of `data` must have gone through the processor's image pipeline."""
        self._images = torch.from_numpy(data.images)
        tokens = [processor.images.tokens(image) for image in data.images[0]]
        prompts = [processor.tokens(text, tokens) for text in data.instructions]
        length = max(map(len, prompts))
        pad = processor.tokenizer.pad_id
        self._ids = torch.tensor([[pad] * (length - len(p)) + p for p in prompts])
        self._mask = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in prompts])
        state, action, mask = [], [], []
        for joints, plans in zip(data.states, data.actions, strict=True):
            groups = to_groups(contract, joints[None])
            state.append(processor.codec.encode_state(groups))
            encoded = [
                processor.codec.encode_action(to_groups(contract, plan), groups) for plan in plans
            ]
            action.append([values for values, _ in encoded])
            mask.append([used for _, used in encoded])
        self._state = torch.from_numpy(np.array(state))
        self._action = torch.from_numpy(np.array(action))
        self._action_mask = torch.from_numpy(np.array(mask))
        goals = torch.from_numpy(data.goals).float()
        self._goal = (goals - goals.mean((0, 1))) / goals.std((0, 1))
        cells = np.concatenate(
            [describe_cells(part, processor.images.cell) for part in _parts(data.images)]
        )
        self._cells = torch.from_numpy(cells / cells.std((0, 1)))

    def __len__(self) -> int:
        return len(self._state)

    @property
    def instructions(self) -> int:
        """How many instructions each state comes with."""
        return len(self._ids)

    @property
    def goal_width(self) -> int:
        """Numbers per goal."""
        return self._goal.shape[-1]

    @property
    def cell_width(self) -> int:
        """Numbers per image token."""
        return self._cells.shape[-1]

    def draw_indices(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random states, each with a random instruction."""
        rows = torch.randint(len(self), (size,), generator=generator)
        return rows, torch.randint(self.instructions, (size,), generator=generator)

    def draw(self, size: int, generator: torch.Generator) -> Batch:
        """A random batch for the backbone."""
        return self.select(*self.draw_indices(size, generator))

    def select(self, rows: Tensor, texts: Tensor) -> Batch:
        """What the backbone sees of these samples."""
        return Batch(
            self._ids[texts],
            self._mask[texts],
            [normalise_pixels(self._images[rows].flatten(0, 1))],
            self._goal[rows, texts],
            self._cells[rows],
        )

    def target(self, rows: Tensor, texts: Tensor) -> Target:
        """What the head is taught about these samples."""
        return Target(
            self._state[rows],
            self._action[rows, texts],
            self._action_mask[rows, texts],
            torch.zeros_like(rows),
        )


def _parts(images: NDArray[np.uint8], size: int = 100) -> list[NDArray[np.uint8]]:
    return [images[i : i + size] for i in range(0, len(images), size)]
