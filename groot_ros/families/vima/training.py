# SPDX-License-Identifier: Apache-2.0
"""Training of VIMA: the loss is the cross-entropy of all bins of all steps of an episode.

All steps are predicted in one pass, each from the recorded steps before it (teacher forcing).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.families.vima.checkpoint import empty_network, save_network
from groot_ros.families.vima.config import PARTS
from groot_ros.families.vima.controller import CrossAttentionLayer, PromptMemory, SelfAttentionLayer
from groot_ros.families.vima.episodes import VimaEpisode
from groot_ros.families.vima.network import Vima
from groot_ros.families.vima.placement import PlacementError, placement_error, step_error
from groot_ros.families.vima.prompt import PromptTokenizer
from groot_ros.families.vima.prompt_encoder import interleave
from groot_ros.families.vima.samples import Batch, Sample, collate, make_sample
from groot_ros.vision.augmentation import Augmentation

#: Standard deviation of the target around the recorded bin, in bins: a neighbouring bin is almost
#: right, which the cross-entropy with a single bin would not express.
_TARGET_WIDTH = 0.7
#: Scale of the similarities in the auxiliary loss.
_SIMILARITY_SCALE = 10.0
#: Layer whose attention to the history finds the things of an action in the auxiliary loss.
_READING_LAYER = 1
#: Episodes of one forward pass of a validation.
_VALIDATION_BATCH = 32


@dataclass(frozen=True)
class _Pass:
    """Results of a forward pass.

    Attributes:
        scores: part of the action -> scores [B, T, sum of its bins].
        crops: features of all crops in the order of `Batch.slots`, and a row of zeros.
        observations: tokens of the objects [B, T, Q, C].
        memory: encoded prompts.
        inputs: inputs of the attention that reads the things of an action, see `_READING_LAYER`:
            to the history, and one layer later to the prompt, [B, T * (Q + 1) - 1, C] each; none
            if the controller is too small for it.

    """

    scores: Mapping[str, Tensor]
    crops: Tensor
    observations: Tensor
    memory: PromptMemory
    inputs: Sequence[Tensor]


class Trainer:
    """See `families.training.EpisodeTrainer`."""

    def __init__(self, model: Vima, tokenizer: PromptTokenizer) -> None:
        self.model, self._tokenizer = model, tokenizer

    def training_sample(
        self,
        episode: VimaEpisode,
        index: int = 0,
        rng: np.random.Generator | None = None,
        augmentation: Augmentation | None = None,
    ) -> Sample:
        """Return the sample of an episode, all steps in one; `index` is not used.

        Raises:
            ValueError: a word is not in the vocabulary; names the file.

        """
        try:
            prompt = self._tokenizer.tokenise(episode.prompt)
        except ValueError as error:
            raise ValueError(f"{episode.where}: {error}") from error
        return make_sample(episode, prompt, rng, augmentation)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """See `families.training.Trainer.collate`."""
        return collate(samples, self.model.config.views, self._device)

    def draw(
        self,
        batch: Batch,
        rngs: Sequence[np.random.Generator],
        max_delay: int = 0,
        timestep_sampling: str = "beta",
    ) -> dict[str, Tensor]:
        """See `families.training.Trainer.draw`; the loss has no random values."""
        return {}

    def counted_values(self, batch: Batch, draws: Mapping[str, Tensor]) -> int:
        """See `families.training.Trainer.counted_values`."""
        return int(batch.counts.sum()) * sum(len(self.model.config.bins[part]) for part in PARTS)

    def loss(
        self,
        batch: Batch,
        generator: torch.Generator | None = None,
        *,
        draws: Mapping[str, Tensor] | None = None,
        encoded: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Return "loss", and "auxiliary" where it is known which things the prompts show.

        The auxiliary loss has three parts: the crop of a thing in a prompt is most similar to the
        crops of this thing on the table; the first layer of the controller attends from a thing on
        the table to this thing in the prompt; and a later layer attends from where an action is
        read to the things that it moves. Without it a network finds only slowly what the pictures
        of a prompt are for. See `families.training.Trainer.loss`.
        """
        passed = self._forward(batch)
        losses = {"loss": self._cross_entropy(passed.scores, batch)}
        # Identity and crop of every item of the prompts; words are 0, as everything unknown.
        crops = passed.crops[batch.picture_slots]
        known = torch.cat([batch.picture_identities[..., None].to(crops), crops], dim=-1)
        words = known.new_zeros(len(batch.words), known.shape[-1])
        items, _ = interleave(batch.items, words, known, batch.picture_visible)
        named, asked = items[..., 0].round().long(), items[..., 1:]
        visible = batch.visible.flatten(1)[:, None]
        same = (named[:, :, None] == batch.identities.flatten(1)[:, None]) & visible
        same &= named[:, :, None] > 0
        if bool(same.any()):
            shown = passed.crops[batch.slots].flatten(1, 2)
            similar = F.normalize(asked, dim=-1) @ F.normalize(shown, dim=-1).mT
            similar = (_SIMILARITY_SCALE * similar).masked_fill(~visible, float("-inf"))
            pointed = self._prompt_attention(passed).flatten(1, 2)
            recognised = _share_loss(similar.softmax(-1), same)
            losses["auxiliary"] = recognised + _share_loss(pointed, same.mT)
            if passed.inputs:
                losses["auxiliary"] += self._reading_loss(passed, batch, named)
        return losses

    def _reading_loss(self, passed: "_Pass", batch: Batch, named: Tensor) -> Tensor:
        """Return the loss of the attention from where an action is read, [B, T].

        Half of the heads attend to the thing that is picked up, the others to the one that it is
        put into. One layer later all attend to the first thing in the prompt, whose picture may
        show where it goes.

        Args:
            passed: forward pass.
            batch: its batch.
            named: int64 [B, S], the thing that each item of the prompts shows; 0 = unknown.

        """
        to_history, to_prompt = passed.inputs
        own, cross = self._reading_layers()
        assert isinstance(own, SelfAttentionLayer)
        assert isinstance(cross, CrossAttentionLayer)
        slots = batch.visible.shape[2]
        read = slice(slots - 1, None, slots + 1)
        # Tokens of the history: those of the objects of each step, with an action between steps.
        shown, things = (
            F.pad(values, (0, 1)).flatten(1)[:, None, :-1]
            for values in (batch.visible, batch.identities)
        )
        step = torch.arange(shown.shape[-1], device=shown.device) // (slots + 1)
        # Only within a step: what an action needs of earlier ones is left to the training.
        within = (shown & (step == step[:, None]))[:, None]
        found = own.attn.weights(to_history, within)[:, :, read]
        now = within[:, 0, read]
        half = found.shape[1] // 2
        picked, placed = found[:, :half].mean(dim=1), found[:, half:].mean(dim=1)
        mask = passed.memory.mask[:, None, None]
        asked = cross.weights(to_prompt[:, read], passed.memory.layers[_READING_LAYER + 1], mask)
        pick, place = batch.moved[..., :1], batch.moved[..., 1:]
        return (
            _share_loss(picked, _same(pick, things) & now)
            + _share_loss(placed, _same(place, things) & now)
            + _share_loss(asked.mean(dim=1), _same(pick, named[:, None]))
        )

    def _reading_layers(self) -> list[nn.Module]:
        """Return the layers of the reading loss; none if there are too few, or only one head."""
        controller = self.model.xattn_gpt
        if len(controller.h) < _READING_LAYER + 2 or self.model.config.sattn_n_heads < 2:
            return []
        return [controller.h[_READING_LAYER], controller.xattns[_READING_LAYER + 1]]

    def _prompt_attention(self, passed: "_Pass") -> Tensor:
        """Return the attention of the first layer to the prompt, mean over its heads, [B, T, Q, S].

        Positions in the history are left out: what a thing is does not depend on them.
        """
        layer = cast(CrossAttentionLayer, self.model.xattn_gpt.xattns[0])
        tokens = passed.observations.flatten(1, 2)
        mask = passed.memory.mask[:, None, None]
        shares = layer.weights(tokens, passed.memory.layers[0], mask).mean(dim=1)
        return shares.unflatten(1, passed.observations.shape[1:3])

    def _forward(self, batch: Batch) -> "_Pass":
        network, encoder = self.model, self.model.obj_encoder
        features = encoder.crop_features(batch.objects)
        tokens = _with_padding(encoder.tokens(features, batch.objects))
        pictures = network.prompt_obj_post_layer(tokens[batch.picture_slots])
        words = network.prompt_embedding(batch.words)
        prompt, mask = interleave(batch.items, words, pictures, batch.picture_visible)
        memory = network.xattn_gpt.remember(network.encode_prompt(prompt, mask), mask)
        observations = network.with_end_effector(tokens[batch.slots], batch.end_effector)
        before = {part: bins[:, :-1] for part, bins in batch.actions.items()}
        actions = network.action_tokens(before) if batch.counts.shape[1] > 1 else None
        with _recorded_inputs(self._reading_layers()) as inputs:
            predicted, _ = network.predict(observations, batch.visible, actions, memory)
        crops = _with_padding(torch.cat([features[view] for view in encoder.views]))
        scores = network.action_decoder(predicted)
        return _Pass(scores, crops, observations, memory, inputs)

    def _cross_entropy(self, scores: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Return the mean over the coordinates of all steps; 0 = the target distribution."""
        values = []
        for part in PARTS:
            split = scores[part][batch.counts].split(self.model.config.bins[part], dim=-1)
            for own, recorded in zip(
                split, batch.actions[part][batch.counts].unbind(-1), strict=True
            ):
                bins = torch.arange(own.shape[-1], device=own.device)
                offset = (bins - recorded[:, None]) / _TARGET_WIDTH
                target = (-0.5 * offset**2).softmax(-1)
                values.append(F.kl_div(own.log_softmax(-1), target, reduction="batchmean"))
        return torch.stack(values).mean()

    @torch.no_grad()
    def held_out_error(self, episodes: Sequence[VimaEpisode]) -> PlacementError:
        """See `families.training.EpisodeTrainer.held_out_error`."""
        bins = self.model.config.bins
        found, losses = [], []
        for begin in range(0, len(episodes), _VALIDATION_BATCH):
            part = episodes[begin : begin + _VALIDATION_BATCH]
            batch = self.collate([self.training_sample(episode) for episode in part])
            scores = self._forward(batch).scores
            losses += [float(self._cross_entropy(scores, batch))] * len(part)
            chosen = self.model.action_decoder.most_likely(scores)
            for row, episode in enumerate(part):
                errors = []
                for step in range(episode.steps):
                    predicted, recorded = (
                        {name: values[name][row, step] for name in PARTS}
                        for values in (chosen, batch.actions)
                    )
                    errors.append(step_error(predicted, recorded, bins, episode.bounds))
                found.append((episode.task, errors))
        return placement_error(found, float(np.mean(losses)))

    def parameter_groups(self, switches: Mapping[str, Any]) -> list[dict[str, Any]]:
        """See `families.training.Trainer.parameter_groups`; there are no switches.

        The prompt encoder has no dropout: a small network does not overfit on rendered data.
        """
        self.model.requires_grad_(True).train()
        self.model.t5_prompt_encoder.eval()
        # Its own word table, under two names, is never read.
        t5 = self.model.t5_prompt_encoder.t5
        t5.shared.requires_grad_(False)
        t5.encoder.embed_tokens.requires_grad_(False)
        return [{"params": [p for p in self.model.parameters() if p.requires_grad]}]

    def save(self, path: Path, changed: Mapping[str, Tensor] | None = None) -> None:
        """See `families.training.Trainer.save`."""
        network = empty_network(self.model.config)
        network.load_state_dict({**self.model.state_dict(), **(changed or {})}, assign=True)
        save_network(network, path, self._tokenizer)

    @property
    def _device(self) -> torch.device:
        return self.model.obs_fusion_layer.weight.device


@contextmanager
def _recorded_inputs(layers: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Give a list to which each layer adds its first input, in the order of the calls."""
    inputs: list[Tensor] = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
        for layer in layers
    ]
    try:
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()


def _with_padding(rows: Tensor) -> Tensor:
    """Append a row of zeros, which padded slots refer to."""
    return torch.cat([rows, rows.new_zeros(1, rows.shape[1])])


def _share_loss(shares: Tensor, right: Tensor) -> Tensor:
    """Return minus the logarithm of the share [B, R, C] that falls to the right columns.

    Rows without a right column do not count.
    """
    counted = right.any(-1)
    if not bool(counted.any()):
        return shares.new_zeros(())
    share = (shares * right).sum(-1)[counted]
    return -share.clamp(min=1e-9).log().mean()


def _same(one: Tensor, other: Tensor) -> Tensor:
    """Tell which numbers are equal and not 0."""
    return (one == other) & (one > 0)
