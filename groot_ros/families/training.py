# SPDX-License-Identifier: Apache-2.0
"""Interface for training checkpoints of a family: data and trainers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import Groups
from groot_ros.vision.augmentation import Augmentation

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class DataLayout:
    """Layout of the data that a new checkpoint is made for.

    Attributes:
        embodiment: tag.
        views: cameras.
        state_groups, action_groups: group -> columns.
        horizon: steps of a chunk.
        relative: action groups that are offsets from the state group of the same name.
        statistics: "state", "action" or "relative_action" -> group -> statistic -> values.
        image_edge: smaller side of the model's input images in pixels; None = the family's
            default.
        instructions: texts of the data; a new small checkpoint has a token for each of their words.

    """

    embodiment: str
    views: tuple[str, ...]
    state_groups: Mapping[str, int]
    action_groups: Mapping[str, int]
    horizon: int
    relative: frozenset[str] = frozenset()
    statistics: Mapping[str, Any] = field(default_factory=dict)
    image_edge: int | None = None
    instructions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Episode:
    """Recorded episode: arrays over time in the units of the checkpoint.

    Attributes:
        images: view -> uint8 RGB [T, H, W, 3].
        state: group -> [T, D].
        action: group -> [T, D]; may be longer than the state, as by repetitions of the last one.
        instruction: text.
        labels: view -> [T, K, 2], (right, down) positions of K things as shares of the image, NaN
            where they are not visible; empty without labels.

    """

    images: Mapping[str, NDArray[np.uint8]]
    state: Groups
    action: Groups
    instruction: str
    labels: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


class HeldOutError(Protocol):
    """Error on held-out episodes; `str` gives it as one line."""

    @property
    def unit(self) -> str:
        """Return the unit of the curves `error/...`."""

    @property
    def minimised(self) -> float:
        """Return the value that is smallest for the best checkpoint."""

    def metrics(self) -> dict[str, float]:
        """Return the values by the name of their curve: `error/...`, `loss/...`, `share/...`."""


class Trainer(Protocol):
    """Trainer of a network.

    Attributes:
        model: the network whose parameters are trained.

    """

    model: "nn.Module"

    def training_sample(
        self,
        episode: Any,
        index: int,
        rng: np.random.Generator | None = None,
        augmentation: Augmentation | None = None,
    ) -> Any:
        """Return the sample at time step `index`.

        Args:
            episode: an `Episode`, or one of `FamilyData`.
            index: time step.
            rng: draws the image augmentation; None = the images of inference.
            augmentation: ranges of the augmentation; None = only the position of the crop.

        """

    def collate(self, samples: Sequence[Any]) -> Any:
        """Return a batch of the samples on the device of the model."""

    def draw(
        self,
        batch: Any,
        rngs: Sequence[np.random.Generator],
        max_delay: int = 0,
        timestep_sampling: str = "beta",
    ) -> dict[str, "Tensor"]:
        """Draw the random values of the loss, each sample's from its own generator.

        Args:
            batch: from `collate`.
            rngs: one generator per sample.
            max_delay: largest number of leading steps that are already committed, for
                training-time real-time chunking.
            timestep_sampling: "beta" = times as the family's published training draws them,
                "inference" = the times of the denoising steps at inference.

        """

    def loss(
        self,
        batch: Any,
        generator: "torch.Generator | None" = None,
        *,
        draws: "Mapping[str, Tensor] | None" = None,
        encoded: "Mapping[str, Tensor] | None" = None,
    ) -> dict[str, "Tensor"]:
        """Return the loss of a batch as "loss", and its parts by name.

        A part "auxiliary" is not included in "loss"; the run adds it with the weight of its
        settings.

        Args:
            batch: from `collate`.
            generator: CPU generator of random values that `draws` does not have.
            draws: from `draw`.
            encoded: outputs of the backbone, for a `ChunkTrainer`; None = computed.

        """

    def counted_values(self, batch: Any, draws: "Mapping[str, Tensor]") -> int:
        """Return the number of action values whose error counts."""

    def parameter_groups(self, switches: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Freeze and unfreeze parts, and return the parameter groups for an optimiser.

        Args:
            switches: `tune_*` options of the family; others keep the checkpoint's value.

        """

    def save(self, path: Path, changed: "Mapping[str, Tensor] | None" = None) -> None:
        """Write the checkpoint directory.

        Tensors that were not trained, and the rows of other embodiments, are copied from the base
        checkpoint without any change.

        Args:
            path: directory to create.
            changed: name -> values of the changed parameters; None = the trained ones of the model.

        """


class ChunkTrainer(Trainer, Protocol):
    """Trainer of a network that predicts chunks from camera frames, for one embodiment.

    Its episodes are `Episode` records of LeRobot data sets. Only the rows of this embodiment of the
    category-specific weights are in memory.
    """

    def prepare_frame(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert a frame [H, W, 3] to the smallest one that gives the same samples."""

    def encode(self, batch: Any) -> "dict[str, Tensor]":
        """Return the outputs of the backbone, [B, S, ...] each, "features" among them."""

    def without_images(self, sample: Any) -> Any:
        """Return a sample whose images are dropped, for batches with given features."""

    def image_grids(self, batch: Any) -> list[tuple[int, int]]:
        """Return rows and columns of image tokens of each image of the first sample."""

    def predict(
        self, batch: Any, noise: "Tensor", encoded: "Mapping[str, Tensor] | None" = None
    ) -> "Tensor":
        """Return normalised action chunks [B, H, A], denoised from `noise`, of the same shape."""


class EpisodeTrainer(Trainer, Protocol):
    """Trainer of a network on episodes of `FamilyData`, each of which is one sample."""

    def held_out_error(self, episodes: Sequence[Any]) -> HeldOutError:
        """Return the error on episodes, with the model in its present mode."""


class FamilyData(Protocol):
    """Training data in a form of the family, instead of LeRobot data sets."""

    @property
    def episodes(self) -> Sequence[Any]:
        """Return the episodes, each of which is one sample of an `EpisodeTrainer`."""

    def write_checkpoint(self, source: Path | None, seed: int, out: Path) -> None:
        """Write the checkpoint that training on these data starts from.

        Args:
            source: checkpoint; None = a new one of a few million parameters.
            seed: seed of the weights of a new one.
            out: directory to create.

        Raises:
            CheckpointError: the checkpoint is damaged, or the data do not fit it.

        """
