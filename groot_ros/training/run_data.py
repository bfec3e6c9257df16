# SPDX-License-Identifier: Apache-2.0
"""Data of a run as its steps see them: LeRobot data sets, or episodes in a form of the family."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch

from groot_ros.families.family import Processor
from groot_ros.families.training import (
    ChunkTrainer,
    DataLayout,
    EpisodeTrainer,
    HeldOutError,
    Trainer,
)
from groot_ros.robot import RobotContract
from groot_ros.training.auxiliary import LocationReadout
from groot_ros.training.data import FrameStore, Recording, SampleOrder, Samples, evenly_spaced
from groot_ros.training.open_loop import OpenLoopError, open_loop_error
from groot_ros.training.settings import TrainSettings
from groot_ros.vision.augmentation import Augmentation


class RunData(Protocol):
    """Samples of a run, and the error of its network on held-out ones."""

    @property
    def order(self) -> SampleOrder:
        """Return the samples in the order of the run."""

    def sample(
        self, index: int, rng: np.random.Generator | None, augmentation: Augmentation
    ) -> Any:
        """Return one sample; see `families.training.Trainer.training_sample`."""

    def readout(self) -> LocationReadout | None:
        """Return the layer of the auxiliary loss; None if there is none, or it needs no layer."""

    def held_out_error(self) -> HeldOutError | None:
        """Return the error, with the model in eval mode; None without held-out episodes."""


#: Opens the data of a run for its trainer.
OpenData = Callable[[Trainer], RunData]


@dataclass(frozen=True)
class RecordedEpisodes:
    """Episodes of LeRobot data sets; calling it decodes their frames and gives a `RecordedData`.

    Attributes:
        layout: layout of the data.
        trained, held_out: episodes.
        robot: contract, for errors in rad; None = unknown.
        processor: processor of the checkpoint.
        settings: settings of the run.
        frames: directory of decoded frames.

    """

    layout: DataLayout
    trained: Sequence[Recording]
    held_out: Sequence[Recording]
    robot: RobotContract | None
    processor: Processor
    settings: TrainSettings
    frames: Path

    def __call__(self, trainer: Trainer) -> "RecordedData":
        """Open the data for a trainer of the base checkpoint."""
        return RecordedData(self, cast(ChunkTrainer, trainer))


class RecordedData:
    """LeRobot data sets as `RunData`; a sample is an observation and the chunk after it.

    Attributes:
        trainer: trainer of the family.
        order: samples of the trained episodes.

    """

    def __init__(self, source: RecordedEpisodes, trainer: ChunkTrainer) -> None:
        self._source, self.trainer = source, trainer
        settings, layout = source.settings, source.layout
        # The size that a frame gets stands for the conversion.
        key = str(trainer.prepare_frame(np.zeros((97, 131, 3), np.uint8)).shape)
        store = FrameStore(source.frames, layout.views, trainer.prepare_frame, key)
        store.fill([*source.trained, *source.held_out])
        self.order = Samples.of(source.trained, store, layout, settings.padding, settings.seed)
        self._held_out = (
            Samples.of(source.held_out, store, layout, "mask", settings.seed)
            if source.held_out
            else None
        )

    def sample(
        self, index: int, rng: np.random.Generator | None, augmentation: Augmentation
    ) -> Any:
        """See `RunData.sample`; images are dropped where their features are cached."""
        sample = self.trainer.training_sample(*self.order.at(index), rng, augmentation)
        cached = self._source.settings.cache_features
        return self.trainer.without_images(sample) if cached else sample

    @torch.no_grad()
    def readout(self) -> LocationReadout | None:
        """See `RunData.readout`; the layer is as wide as the features."""
        settings, trainer = self._source.settings, self.trainer
        if not settings.auxiliary:
            return None
        batch = trainer.collate([trainer.training_sample(*self.order.at(0))])
        width = trainer.encode(batch)["features"].shape[-1]
        images, things = batch.labels.shape[1:3]
        return LocationReadout(width, images, things, settings.seed)

    def held_out_error(self) -> OpenLoopError | None:
        """See `RunData.held_out_error`."""
        source = self._source
        if self._held_out is None:
            return None
        return open_loop_error(
            self.trainer,
            source.processor,
            self._held_out,
            source.layout,
            source.robot,
            source.settings.validation_samples,
        )


@dataclass(frozen=True)
class EpisodeData(SampleOrder):
    """Episodes in a form of the family as `RunData`; a sample is an episode.

    Attributes:
        trained, held_out: episodes.
        trainer: trainer of the family.
        seed: seed of the order.
        validation_samples: largest number of held-out episodes of a validation.

    """

    trained: Sequence[Any]
    held_out: Sequence[Any]
    trainer: EpisodeTrainer
    seed: int
    validation_samples: int

    def __len__(self) -> int:
        return len(self.trained)

    @property
    def order(self) -> SampleOrder:
        """See `RunData.order`."""
        return self

    def sample(
        self, index: int, rng: np.random.Generator | None, augmentation: Augmentation
    ) -> Any:
        """See `RunData.sample`."""
        return self.trainer.training_sample(self.trained[index], 0, rng, augmentation)

    def readout(self) -> None:
        """See `RunData.readout`; the loss of the family has its own auxiliary part."""

    def held_out_error(self) -> HeldOutError | None:
        """See `RunData.held_out_error`."""
        if not self.held_out:
            return None
        rows = evenly_spaced(len(self.held_out), self.validation_samples)
        return self.trainer.held_out_error([self.held_out[row] for row in rows])
