# SPDX-License-Identifier: Apache-2.0
"""Training of GR00T N1.6: flow matching loss, selection of trained parameters, and the trainer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from groot_ros.families.gr00t.network import TensorBatch
from groot_ros.families.gr00t.samples import EncodedSample
from groot_ros.families.gr00t.training import (
    Gr00tTrainer,
    draw_noisy,
    freeze,
    sample_beta,
    set_train_mode,
    trained_parameters,
    with_labels,
)
from groot_ros.families.gr00t_n1d6.action_head import ActionHead
from groot_ros.families.gr00t_n1d6.config import Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.network import Gr00tN1d6
from groot_ros.families.gr00t_n1d6.processor import Sample
from groot_ros.families.gr00t_n1d6.processor_config import copy_processor
from groot_ros.families.training import Episode
from groot_ros.layers.action_head import FlowHeadConfig
from groot_ros.layers.eagle import BackboneOutput
from groot_ros.vision.augmentation import Augmentation


@dataclass(frozen=True)
class LossOutput:
    """Loss and intermediate results.

    Attributes:
        loss: scalar.
        action_loss: [B, H, A], squared error; 0 where masked.
        prediction: [B, H, A], predicted velocity.
        noisy: [B, H, A], noisy actions given to the network.
        timestep: int64 [B], time bucket.

    """

    loss: Tensor
    action_loss: Tensor
    prediction: Tensor
    noisy: Tensor
    timestep: Tensor


def sample_time(
    config: FlowHeadConfig, batch: int, generator: torch.Generator | None = None
) -> Tensor:
    """Draw times t = (1 - x) s with x ~ Beta(a, b), float32 [batch] on the CPU.

    With the default parameters, times near 0 (noise) are more frequent.
    """
    return (1.0 - sample_beta(config, batch, generator)) * config.noise_s


def flow_matching_loss(
    head: ActionHead,
    backbone: BackboneOutput,
    state: Tensor,
    action: Tensor,
    action_mask: Tensor,
    embodiment: Tensor,
    *,
    noise: Tensor | None = None,
    time: Tensor | None = None,
    state_dropout_prob: float | None = None,
    drop_state: Tensor | None = None,
    delay: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> LossOutput:
    """Compute the masked mean squared error of the velocity.

    Args:
        head: the action head.
        backbone: features of the batch.
        state: [B, T_state, max_state_dim], normalised.
        action: [B, H, max_action_dim], normalised.
        action_mask: [B, H, max_action_dim], 1 where the error counts.
        embodiment: int64 [B].
        noise: [B, H, A]; None = drawn.
        time: [B] in [0, 1); None = drawn from the config's Beta distribution.
        state_dropout_prob: replaces the config's value; as in the reference, dropout of the state
            also acts in eval mode.
        drop_state: bool [B], samples whose state is dropped; None = drawn.
        delay: see `draw_noisy`.
        generator: CPU generator of all random values; None = torch's global one.

    Raises:
        ValueError: the probability is positive but the head has no mask token.

    """
    config, device, dtype = head.config, action.device, head.dtype
    batch = len(action)
    probability = config.state_dropout_prob if state_dropout_prob is None else state_dropout_prob
    noisy = draw_noisy(
        config, action, sample_time, noise=noise, time=time, generator=generator, delay=delay
    )
    context = head.context(backbone, state, embodiment)
    tokens = context.tokens
    if probability > 0:
        if head.mask_token is None:
            raise ValueError(
                "state_dropout_prob is positive but the model has no mask_token; create the model "
                "with a positive state_dropout_prob in its config"
            )
        if drop_state is None:
            drop_state = torch.rand(batch, generator=generator) < probability
        tokens = torch.where(drop_state.to(device)[:, None, None], head.mask_token, tokens)
    if head.training and config.state_additive_noise_scale > 0:
        draw = torch.randn(tokens.shape, generator=generator).to(device, dtype)
        tokens = tokens + draw * config.state_additive_noise_scale
    context = replace(context, tokens=tokens)
    prediction = head.velocity(context, noisy.values.to(dtype), noisy.timestep, noisy.per_action)
    mask = action_mask * noisy.counts
    action_loss = (prediction - noisy.target) ** 2 * mask
    loss = action_loss.sum() / (mask.sum() + 1e-6)
    return LossOutput(loss, action_loss, prediction, noisy.values, noisy.timestep)


def frozen_modules(model: Gr00tN1d6, config: Gr00tN1d6Config) -> Iterator[nn.Module]:
    """Yield the modules whose `tune_*` switch in the config is off."""
    eagle, head = model.backbone.model, model.action_head
    if not config.tune_llm:
        yield eagle.language_model
    if not config.tune_visual:
        yield from (eagle.vision_model, eagle.mlp1)
    if not config.tune_projector:
        yield from (head.state_encoder, head.action_encoder, head.action_decoder)
        if config.add_pos_embed:
            yield head.position_embedding
    if not config.tune_diffusion_model:
        yield head.model
    if not config.tune_vlln:
        yield head.vlln


def apply_tuning(model: Gr00tN1d6) -> list[nn.Parameter]:
    """Set requires_grad by the config's `tune_*` switches and return the trained parameters.

    The top `tune_top_llm_layers` layers of the language model are trained even if `tune_llm` is
    off.
    """
    config = model.config
    freeze(model, frozen_modules(model, config))
    if model.action_head.mask_token is not None:
        model.action_head.mask_token.requires_grad_(config.tune_projector)
    if config.tune_top_llm_layers > 0:
        for layer in list(model.backbone.model.text.layers)[-config.tune_top_llm_layers :]:
            layer.requires_grad_(True)
    return trained_parameters(model)


def train_mode(model: Gr00tN1d6) -> None:
    """Set training mode, except for frozen parts; see `set_train_mode`."""
    set_train_mode(model, frozen_modules(model, model.config))


#: Keys of config.json that a training run can change as it changes switches.
_NUMBERS = ("state_dropout_prob", "num_inference_timesteps")


def with_switches(config: Gr00tN1d6Config, switches: Mapping[str, Any]) -> Gr00tN1d6Config:
    """Return the configuration with some `tune_*` switches and numbers of `_NUMBERS` changed.

    Raises:
        ValueError: a switch does not exist.

    """
    known = [name for name in vars(config) if name.startswith("tune_")]
    unknown = sorted(switches.keys() - {*known, *_NUMBERS})
    if unknown:
        raise ValueError(f"no switch '{unknown[0]}' (known: {', '.join(sorted(known))})")
    return replace(config, **switches)


class Trainer(Gr00tTrainer):
    """See `families.training.Trainer`."""

    model: Gr00tN1d6

    def time_of(self, shares: Tensor) -> Tensor:
        """See `Gr00tTrainer.time_of`."""
        return (1.0 - shares) * self.model.config.noise_s

    def image_grids(self, batch: TensorBatch) -> list[tuple[int, int]]:
        """See `families.training.Trainer.image_grids`."""
        count, cell = len(batch.images) // len(batch.state), self._processor.images.cell
        shapes = [image.shape for image in batch.images[:count]]
        return [(shape[-2] // cell, shape[-1] // cell) for shape in shapes]

    def prepare_frame(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `families.training.Trainer.prepare_frame`."""
        return self._processor.images.shrink(image)

    def training_sample(
        self,
        episode: Episode,
        index: int,
        rng: np.random.Generator | None = None,
        augmentation: Augmentation | None = None,
    ) -> EncodedSample:
        """See `families.training.Trainer.training_sample`.

        Observation steps before the start or after the end of the episode repeat its first or
        last step; action steps after the end are left out.
        """
        embodiment = self._processor.embodiment
        length = min(len(values) for values in episode.state.values())
        end = min(len(values) for values in episode.action.values())

        def rows(deltas: Sequence[int]) -> np.ndarray:
            return np.clip(index + np.asarray(deltas), 0, length - 1)

        action_rows = index + np.asarray(embodiment.action.delta_indices)
        known = action_rows[action_rows < end]
        sample = Sample(
            {
                view: episode.images[view][rows(embodiment.video.delta_indices)]
                for view in self._processor.views
            },
            {
                group: values[rows(embodiment.state.delta_indices)]
                for group, values in episode.state.items()
            },
            episode.instruction,
            {group: values[known] for group, values in episode.action.items()},
        )
        encoded = self._processor.encode_sample(sample, rng, augmentation)
        return with_labels(encoded, self._processor.views, episode, index)

    def loss(
        self,
        batch: TensorBatch,
        generator: torch.Generator | None = None,
        *,
        draws: Mapping[str, Tensor] | None = None,
        encoded: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """See `families.training.Trainer.loss`; raises ValueError for a batch without actions."""
        action, mask = batch.require_actions()
        given: dict[str, Any] = dict(draws or {})
        output = flow_matching_loss(
            self.model.action_head,
            self.backbone_output(batch, encoded),
            batch.state,
            action,
            mask,
            batch.embodiment,
            **given,
            generator=generator,
        )
        return {"loss": output.loss}

    def apply_switches(self, switches: Mapping[str, Any]) -> list[nn.Parameter]:
        """See `Gr00tTrainer.apply_switches`."""
        self.model.config = with_switches(self.model.config, switches)
        learning = apply_tuning(self.model)
        train_mode(self.model)
        return learning

    def copy_files(self, path: Path) -> None:
        """See `Gr00tTrainer.copy_files`."""
        copy_processor(self._source, path)


def training_loss(model: Gr00tN1d6, batch: TensorBatch, **draws: Any) -> LossOutput:
    """Return the loss of a batch; `draws` are keyword arguments of `flow_matching_loss`.

    Raises:
        ValueError: the batch has no actions.

    """
    action, mask = batch.require_actions()
    backbone = model.backbone(batch.input_ids, batch.attention_mask, batch.images)
    return flow_matching_loss(
        model.action_head,
        backbone,
        batch.state,
        action,
        mask,
        batch.embodiment,
        **draws,
    )
