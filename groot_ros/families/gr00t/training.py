# SPDX-License-Identifier: Apache-2.0
"""Training of the GR00T families: random times and noise, frozen parts, batches.

The networks learn to predict the velocity from noise to action at a random time.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from groot_ros.checkpoint.weights import write_json
from groot_ros.families.gr00t.network import Gr00tNetwork, TensorBatch
from groot_ros.families.gr00t.samples import EncodedSample, collate
from groot_ros.families.gr00t.weights import WeightFiles
from groot_ros.families.training import Episode
from groot_ros.layers.action_head import FlowHeadConfig
from groot_ros.layers.eagle import BackboneOutput


@dataclass(frozen=True)
class NoisyActions:
    """Actions at a random time between noise and data.

    Attributes:
        values: [B, H, A], (1 - t) noise + t action.
        target: [B, H, A], velocity action - noise.
        timestep: int64 [B], time bucket.
        per_action: int64 [B, H], time bucket of every action token.
        counts: bool [B, H, 1], False at steps that the network sees without noise.

    """

    values: Tensor
    target: Tensor
    timestep: Tensor
    per_action: Tensor
    counts: Tensor


def sample_beta(config: FlowHeadConfig, batch: int, generator: torch.Generator | None) -> Tensor:
    """Draw x ~ Beta(noise_beta_alpha, noise_beta_beta), float32 [batch] on the CPU."""
    shape = torch.tensor([config.noise_beta_alpha, config.noise_beta_beta])
    gamma = torch._standard_gamma(shape.expand(batch, 2).contiguous(), generator=generator)
    return gamma[:, 0] / gamma.sum(1)


def draw_noisy(
    config: FlowHeadConfig,
    action: Tensor,
    sample_time: Callable[[FlowHeadConfig, int, torch.Generator | None], Tensor],
    *,
    noise: Tensor | None,
    time: Tensor | None,
    generator: torch.Generator | None,
    delay: Tensor | None = None,
) -> NoisyActions:
    """Mix actions with noise at random times.

    Args:
        config: configuration of the head.
        action: [B, H, A], normalised.
        sample_time: draws times in [0, 1), float32 [B], for a configuration and a batch size.
        noise: [B, H, A]; None = drawn, before the times.
        time: [B] in [0, 1); None = drawn.
        generator: CPU generator of all random values; None = torch's global one.
        delay: int64 [B], leading steps that are already committed (training-time real-time
            chunking): they have no noise, are shown as finished, as `Conditioning.clean` does at
            inference, and their error does not count. None = 0.

    """
    device = action.device
    if noise is None:
        noise = torch.randn(action.shape, generator=generator).to(device)
    if time is None:
        time = sample_time(config, len(action), generator).to(device)
    t = time[:, None, None]
    noisy = (1 - t) * noise + t * action
    timestep = (time * config.num_timestep_buckets).long()
    steps = torch.arange(action.shape[1], device=device)
    committed = steps < (0 if delay is None else delay[:, None].to(device))
    committed = committed.expand(len(action), -1)
    per_action = torch.where(committed, config.num_timestep_buckets, timestep[:, None])
    noisy = torch.where(committed[..., None], action, noisy)
    return NoisyActions(noisy, action - noise, timestep, per_action, ~committed[..., None])


def with_labels(
    sample: EncodedSample, views: Sequence[str], episode: Episode, index: int
) -> EncodedSample:
    """Return the sample with the labels of the episode at this step, relative to its crops."""
    if not episode.labels:
        return sample
    labels = []
    for number, window in enumerate(sample.windows):
        top, left, height, width = window
        points = np.asarray(episode.labels[views[number % len(views)]][index])
        inside = (points - (left, top)) / (width, height)
        visible = ((inside >= 0) & (inside < 1)).all(-1, keepdims=True)
        labels.append(np.where(visible, inside, np.nan))
    return replace(sample, labels=np.stack(labels).astype(np.float32))


def freeze(model: nn.Module, frozen: Iterable[nn.Module]) -> None:
    """Set requires_grad of all parameters except those of the frozen modules."""
    model.requires_grad_(True)
    for module in frozen:
        module.requires_grad_(False)


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that require a gradient."""
    return [p for p in model.parameters() if p.requires_grad]


def set_train_mode(model: nn.Module, frozen: Iterable[nn.Module]) -> None:
    """Set training mode, except for frozen parts, which stay in eval mode without dropout."""
    model.train()
    for module in frozen:
        module.eval()


class Gr00tTrainer:
    """Common part of the families' trainers; see `families.training.Trainer`."""

    def __init__(
        self, model: Gr00tNetwork, processor: Any, weights: WeightFiles[Any], source: Path
    ) -> None:
        """Train a model on samples of a processor of its family.

        Args:
            model: network with the rows of one embodiment.
            processor: processor of the embodiment.
            weights: names of the weights in the files.
            source: directory of the base checkpoint, with all files of a checkpoint.

        """
        self.model = model
        self._processor = processor
        self._weights, self._source = weights, source

    def encode(self, batch: TensorBatch) -> dict[str, Tensor]:
        """See `families.training.Trainer.encode`."""
        images = [image.to(self._backbone_dtype) for image in batch.images]
        encoded = self.model.backbone(batch.input_ids, batch.attention_mask, images)
        found = {
            "features": encoded.features,
            "attention_mask": encoded.attention_mask,
            "image_mask": encoded.image_mask,
        }
        return {name: value for name, value in found.items() if value is not None}

    def without_images(self, sample: EncodedSample) -> EncodedSample:
        """See `families.training.Trainer.without_images`."""
        return replace(sample, images=[])

    def draw(
        self,
        batch: TensorBatch,
        rngs: Sequence[np.random.Generator],
        max_delay: int = 0,
        timestep_sampling: str = "beta",
    ) -> dict[str, Tensor]:
        """See `families.training.Trainer.draw`."""
        config = self.model.action_head.config
        action, _ = batch.require_actions()
        noise = np.stack([rng.standard_normal(action.shape[1:], np.float32) for rng in rngs])
        if timestep_sampling == "inference":
            steps = config.num_inference_timesteps
            times = torch.tensor([rng.integers(steps) / steps for rng in rngs], dtype=torch.float32)
        else:
            alpha, beta = config.noise_beta_alpha, config.noise_beta_beta
            shares = torch.tensor([rng.beta(alpha, beta) for rng in rngs], dtype=torch.float32)
            times = self.time_of(shares)
        drawn = {"noise": torch.from_numpy(noise), "time": times}
        if max_delay > 0:
            drawn["delay"] = torch.tensor([int(rng.integers(max_delay + 1)) for rng in rngs])
        probability = getattr(self.model.config, "state_dropout_prob", 0.0)
        if probability > 0:
            drawn["drop_state"] = torch.tensor([rng.random() < probability for rng in rngs])
        return {name: values.to(action.device) for name, values in drawn.items()}

    def time_of(self, shares: Tensor) -> Tensor:
        """Convert values from the Beta distribution to times in [0, 1)."""
        raise NotImplementedError

    def counted_values(self, batch: TensorBatch, draws: Mapping[str, Tensor]) -> int:
        """See `families.training.Trainer.counted_values`."""
        _, mask = batch.require_actions()
        delay = draws.get("delay")
        if delay is not None:
            steps = torch.arange(mask.shape[1], device=mask.device)
            mask = mask * (steps >= delay[:, None])[..., None]
        return int(mask.sum())

    def predict(
        self, batch: TensorBatch, noise: Tensor, encoded: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """See `families.training.Trainer.predict`."""
        backbone = self.backbone_output(batch, encoded)
        context = self.model.action_head.context(backbone, batch.state, batch.embodiment)
        return self.model.action_head.denoise(context, noise)

    def backbone_output(
        self, batch: TensorBatch, encoded: Mapping[str, Tensor] | None
    ) -> BackboneOutput:
        """Return the outputs of the backbone, computed unless they are given."""
        encoded = self.encode(batch) if encoded is None else dict(encoded)
        # Frozen parts may have less precision than the trained ones after them.
        features = encoded["features"].to(self.model.action_head.dtype)
        return BackboneOutput(
            features, encoded["attention_mask"], encoded.get("image_mask", encoded["features"])
        )

    @property
    def _backbone_dtype(self) -> torch.dtype:
        vision = self.model.backbone.eagle.vision_model
        assert isinstance(vision, nn.Module)
        return next(vision.parameters()).dtype

    def collate(self, samples: Sequence[EncodedSample]) -> TensorBatch:
        """See `families.training.Trainer.collate`."""
        batch = collate(samples, self._processor.tokenizer.pad_id)
        tensors = TensorBatch.of(batch, self.model.device)
        # The model has only the rows of this embodiment.
        return replace(tensors, embodiment=torch.zeros_like(tensors.embodiment))

    def parameter_groups(self, switches: Mapping[str, Any]) -> list[dict[str, Any]]:
        """See `families.training.Trainer.parameter_groups`; switches are the config's `tune_*`."""
        return [{"params": self.apply_switches(switches)}]

    def apply_switches(self, switches: Mapping[str, Any]) -> list[nn.Parameter]:
        """Freeze and unfreeze the parts, and return the trained parameters."""
        raise NotImplementedError

    def save(self, path: Path, changed: Mapping[str, Tensor] | None = None) -> None:
        """See `families.training.Trainer.save`."""
        if changed is None:
            changed = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / "config.json", self.config_json())
        write_json(path / "eagle_config.json", self.model.config.eagle.to_json())
        self.copy_files(path)
        row = self._processor.embodiment_id
        self._weights.save_changed(self._source, changed, row, path)

    def config_json(self) -> dict[str, Any]:
        """Return config.json of the base checkpoint with the present switches."""
        stored = json.loads((self._source / "config.json").read_text(encoding="utf-8"))
        return with_switch_values(stored, self.model.config.to_json())

    def copy_files(self, path: Path) -> None:
        """Copy the files of the processor and the tokenizer to a new checkpoint directory."""
        raise NotImplementedError


def with_switch_values(stored: dict[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contents of config.json with the `tune_*` keys and the dropout of another one."""
    changed = dict(stored)
    for key, value in present.items():
        if isinstance(value, Mapping) and isinstance(stored.get(key), Mapping):
            changed[key] = with_switch_values(stored[key], value)
        elif key.startswith("tune_") or key == "state_dropout_prob":
            changed[key] = value
    return changed
