# SPDX-License-Identifier: Apache-2.0
"""Training of VIMA: the loss is the cross-entropy of all bins of all steps of an episode.

All steps are predicted in one pass, each from the recorded steps before it (teacher forcing).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from groot_ros.families.vima.actions import pick_place
from groot_ros.families.vima.checkpoint import empty_network, save_network
from groot_ros.families.vima.config import PARTS
from groot_ros.families.vima.episodes import VimaEpisode
from groot_ros.families.vima.network import Vima
from groot_ros.families.vima.placement import PlacementError, placement_error
from groot_ros.families.vima.prompt import PromptTokenizer
from groot_ros.families.vima.prompt_encoder import interleave
from groot_ros.families.vima.samples import Batch, Matches, Sample, collate, make_sample
from groot_ros.vision.augmentation import Augmentation

#: Standard deviation of the target around the recorded bin, in bins: a neighbouring bin is almost
#: right, which the cross-entropy with a single bin would not express.
_TARGET_WIDTH = 0.7
#: Scale of the similarities in the auxiliary loss.
_SIMILARITY_SCALE = 10.0
#: Episodes of one forward pass of a validation.
_VALIDATION_BATCH = 32


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
        self, batch: Batch, rngs: Sequence[np.random.Generator], max_delay: int = 0
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
        """Return "loss", and "auxiliary" if things in the prompts are known to be on the table.

        The auxiliary loss is the cross-entropy of the object whose crop is most similar to the one
        in the prompt. See `families.training.Trainer.loss`.
        """
        scores, crops = self._forward(batch)
        losses = {"loss": self._cross_entropy(scores, batch)}
        parts = [_similarity_loss(crops[view], m) for view, m in batch.matches.items()]
        if parts:
            losses["auxiliary"] = torch.stack(parts).mean()
        return losses

    def _forward(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return part -> scores [B, T, sum of its bins], and view -> features of all crops."""
        network, encoder = self.model, self.model.obj_encoder
        crops = encoder.crop_features(batch.objects)
        tokens = encoder.tokens(crops, batch.objects)
        tokens = torch.cat([tokens, tokens.new_zeros(1, tokens.shape[1])])
        pictures = network.prompt_obj_post_layer(tokens[batch.picture_slots])
        words = network.prompt_embedding(batch.words)
        prompt, mask = interleave(batch.items, words, pictures, batch.picture_visible)
        memory = network.xattn_gpt.remember(network.encode_prompt(prompt, mask), mask)
        observations = network.with_end_effector(tokens[batch.slots], batch.end_effector)
        before = {part: bins[:, :-1] for part, bins in batch.actions.items()}
        actions = network.action_tokens(before) if batch.counts.shape[1] > 1 else None
        predicted, _ = network.predict(observations, batch.visible, actions, memory)
        return network.action_decoder(predicted), crops

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
            scores, _ = self._forward(batch)
            losses += [float(self._cross_entropy(scores, batch))] * len(part)
            chosen = self.model.action_decoder.most_likely(scores)
            for row, episode in enumerate(part):
                actions = [
                    tuple(
                        pick_place(
                            {name: values[name][row, step] for name in PARTS}, bins, episode.bounds
                        )
                        for values in (chosen, batch.actions)
                    )
                    for step in range(episode.steps)
                ]
                found.append((episode.task, actions))
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


def _similarity_loss(features: Tensor, matches: Matches) -> Tensor:
    """Return the cross-entropy of the matching object among all objects of the first step."""
    normed = F.normalize(features, dim=-1)
    similar = (normed[matches.anchors][:, None] * normed[matches.candidates]).sum(-1)
    scores = (_SIMILARITY_SCALE * similar).masked_fill(matches.candidates < 0, float("-inf"))
    return F.cross_entropy(scores, matches.targets)
