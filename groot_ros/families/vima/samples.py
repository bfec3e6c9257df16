# SPDX-License-Identifier: Apache-2.0
"""Training samples of VIMA and their batches: only objects that exist are stored, no padding."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groot_ros.families.vima.config import PARTS
from groot_ros.families.vima.episodes import VimaEpisode
from groot_ros.families.vima.object_encoder import ObjectTensors
from groot_ros.families.vima.prompt import PromptTokens
from groot_ros.vision.augmentation import Augmentation, ImageChange
from groot_ros.vision.objects import Objects

#: Largest random change of the numbers of a box in an augmented sample, in reference pixels.
_BOX_SHIFT = 1.0


@dataclass(frozen=True)
class Sample:
    """One episode with a tokenised prompt.

    Attributes:
        prompt: tokens and pictures of the prompt.
        objects: objects of all steps [T, N, ...].
        end_effector: row of the end effector's table.
        actions: part -> bins, int64 [T, 2] or [T, 4].
        identities: int64 [T, N], what each slot shows; 0 = unknown or padding.
        prompt_identities: int64 [P, N], the same of the pictures.
        moved: int64 [T, 2], what each action picks up and what it is put into; 0 = unknown or none.

    """

    prompt: PromptTokens
    objects: Objects
    end_effector: int
    actions: Mapping[str, NDArray[np.int64]]
    identities: NDArray[np.int64]
    prompt_identities: NDArray[np.int64]
    moved: NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """B episodes of up to T steps and Q slots, with P pictures of R slots in their prompts.

    Attributes:
        objects: objects of all steps and pictures, view -> [M, ...]; views have different M.
        slots: int64 [B, T, Q], row of each slot in the tokens of `objects`, views one after the
            other; the row after the last one is padding.
        visible: bool [B, T, Q], True for an object.
        picture_slots, picture_visible: the same for pictures [P, R].
        items: WORD or PICTURE for every item of each prompt.
        words: token ids of all prompts, one prompt after the other.
        end_effector: int64 [B, T].
        actions: part -> bins, int64 [B, T, 2] or [B, T, 4].
        counts: bool [B, T], False after the end of a shorter episode.
        identities: int64 [B, T, Q], what each slot shows, in the order of `slots`; 0 = unknown or
            padding.
        picture_identities: int64 [P, R], the same for pictures.
        moved: int64 [B, T, 2], see `Sample`.

    """

    objects: ObjectTensors
    slots: Tensor
    visible: Tensor
    picture_slots: Tensor
    picture_visible: Tensor
    items: tuple[tuple[int, ...], ...]
    words: Tensor
    end_effector: Tensor
    actions: Mapping[str, Tensor]
    counts: Tensor
    identities: Tensor
    picture_identities: Tensor
    moved: Tensor


def make_sample(
    episode: VimaEpisode,
    prompt: PromptTokens,
    rng: np.random.Generator | None,
    augmentation: Augmentation | None,
) -> Sample:
    """Return the sample of an episode; see `families.training.Trainer.training_sample`."""
    pictures = prompt.pictures
    shown = [episode.objects] if pictures is None else [episode.objects, pictures]
    if rng is not None:
        shown = _changed(shown, (augmentation or Augmentation()).draw(rng), rng)
    objects, pictures = shown[0], None if pictures is None else shown[1]
    known = episode.identities
    if known is None:
        known = np.zeros(objects.mask[objects.views[0]].shape, np.int64)
    return Sample(
        replace(prompt, pictures=pictures),
        objects,
        episode.end_effector,
        episode.actions,
        known,
        _picture_identities(episode, pictures),
        np.zeros((episode.steps, 2), np.int64) if episode.moved is None else episode.moved,
    )


def _picture_identities(episode: VimaEpisode, pictures: Objects | None) -> NDArray[np.int64]:
    if pictures is None:
        return np.zeros((0, 0), np.int64)
    found = np.zeros(pictures.mask[pictures.views[0]].shape, np.int64)
    for row, name in enumerate(re.findall(r"\{(\w+)\}", episode.prompt.text)):
        own = episode.prompt_identities.get(name)
        if own is not None:
            found[row, : len(own)] = own
    return found


def _changed(
    shown: Sequence[Objects], change: ImageChange | None, rng: np.random.Generator
) -> list[Objects]:
    """Return objects with other colours, all changed alike, and slightly other boxes."""
    crops = [part.crops[view] for part in shown for view in part.views]
    if change is not None:
        side = crops[0].shape[-1]
        flat = [array.reshape(-1, 3, side, side) for array in crops]
        # One image with all crops, one below the other.
        column = np.concatenate(flat).transpose(0, 2, 3, 1).reshape(-1, side, 3)
        # The black border around an object is no part of the picture.
        column = np.where(column.any(-1, keepdims=True), change(column), np.uint8(0))
        split = np.cumsum([len(array) for array in flat])[:-1]
        new = np.split(column.reshape(-1, side, side, 3).transpose(0, 3, 1, 2), split)
        crops = [n.reshape(array.shape) for n, array in zip(new, crops, strict=True)]
    remaining = iter(crops)
    changed = []
    for part in shown:
        boxes = {
            view: array + rng.uniform(-_BOX_SHIFT, _BOX_SHIFT, array.shape).astype(np.float32)
            for view, array in part.boxes.items()
        }
        changed.append(
            replace(part, crops={view: next(remaining) for view in part.views}, boxes=boxes)
        )
    return changed


class _Store:
    """Objects of a batch, and their rows."""

    def __init__(self, views: Sequence[str]) -> None:
        self.views = views
        self._crops: dict[str, list[NDArray[np.uint8]]] = {view: [] for view in views}
        self._boxes: dict[str, list[NDArray[np.float32]]] = {view: [] for view in views}
        self._count = dict.fromkeys(views, 0)

    def add_objects(self, objects: Objects, with_padding: bool) -> dict[str, NDArray[np.int64]]:
        """Store objects [..., N]; return view -> their rows [..., N], -1 for what is left out."""
        rows = {}
        for view in self.views:
            stored = objects.mask[view] | with_padding
            self._crops[view].append(objects.crops[view][stored])
            self._boxes[view].append(objects.boxes[view][stored])
            rows[view] = np.full(stored.shape, -1)
            number = int(stored.sum())
            rows[view][stored] = np.arange(self._count[view], self._count[view] + number)
            self._count[view] += number
        return rows

    def tokens(self, rows: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
        """Return the tokens of rows of all views, [..., Q]."""
        parts, begin = [], 0
        for view in self.views:
            parts.append(np.where(rows[view] < 0, self.padding, rows[view] + begin))
            begin += self._count[view]
        return np.concatenate(parts, axis=-1)

    @property
    def padding(self) -> int:
        """Return the token of padding, which follows the last one."""
        return sum(self._count.values())

    def tensors(self, device: torch.device) -> ObjectTensors:
        """Return all objects."""

        def joined(parts: Mapping[str, list[NDArray[Any]]]) -> dict[str, Tensor]:
            return {v: torch.from_numpy(np.concatenate(parts[v])).to(device) for v in self.views}

        mask = {v: torch.ones(n, dtype=torch.bool, device=device) for v, n in self._count.items()}
        return ObjectTensors(joined(self._crops), joined(self._boxes), mask)


def collate(samples: Sequence[Sample], views: Sequence[str], device: torch.device) -> Batch:
    """Return a batch; see `families.training.Trainer.collate`.

    Padding comes after the first slot of a step, so that the first slot is an object, and the last
    one that at which the action is read, as in a session.
    """
    store = _Store(views)
    steps = [store.add_objects(sample.objects, with_padding=True) for sample in samples]
    pictures = [
        {view: np.zeros((0, 0), np.int64) for view in views}
        if sample.prompt.pictures is None
        else store.add_objects(sample.prompt.pictures, with_padding=False)
        for sample in samples
    ]
    tokens = [store.tokens(rows) for rows in steps]
    length = max(len(own) for own in tokens)
    width = max(own.shape[1] for own in tokens)
    slots = np.full((len(samples), length, width), store.padding)
    visible = np.zeros(slots.shape, bool)
    identities = np.zeros(slots.shape, np.int64)
    counts = np.zeros((len(samples), length), bool)
    moved = np.zeros((len(samples), length, 2), np.int64)
    bins = {
        part: np.zeros((len(samples), length, samples[0].actions[part].shape[1]), np.int64)
        for part in PARTS
    }
    for row, (sample, own) in enumerate(zip(samples, tokens, strict=True)):
        time = slice(len(own))
        shown = np.concatenate([sample.objects.mask[view] for view in views], axis=1)
        known = np.tile(sample.identities, len(views))
        for target, values in ((slots, own), (visible, shown), (identities, known)):
            target[row, time, 0] = values[:, 0]
            target[row, time, 1 - own.shape[1] :] = values[:, 1:]
        counts[row, time] = True
        moved[row, time] = sample.moved
        for part in PARTS:
            bins[part][row, time] = sample.actions[part]
    picture_slots = _padded([row for rows in pictures for row in store.tokens(rows)], store.padding)
    named = [np.tile(row, len(views)) for sample in samples for row in sample.prompt_identities]

    def to_device(array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(device)

    tools = np.array([sample.end_effector for sample in samples])
    return Batch(
        store.tensors(device),
        to_device(slots),
        to_device(visible),
        to_device(picture_slots),
        to_device(picture_slots != store.padding),
        tuple(sample.prompt.items for sample in samples),
        to_device(np.concatenate([sample.prompt.words for sample in samples])),
        to_device(np.repeat(tools[:, None], length, axis=1)),
        {part: to_device(values) for part, values in bins.items()},
        to_device(counts),
        to_device(identities),
        to_device(_padded(named, 0)),
        to_device(moved),
    )


def _padded(rows: Sequence[NDArray[np.int64]], value: int) -> NDArray[np.int64]:
    """Return rows as one array, shorter ones ending with a value."""
    width = max((len(row) for row in rows), default=0)
    padded = np.full((len(rows), width), value)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return padded
