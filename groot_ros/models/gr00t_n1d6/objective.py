"""The training objective: predict the velocity from noise to action at a random time."""

from dataclasses import dataclass

import torch
from torch import Tensor

from groot_ros.models.gr00t_n1d6.action_head import ActionHead
from groot_ros.models.gr00t_n1d6.config import Gr00tN1d6Config
from groot_ros.models.gr00t_n1d6.eagle import BackboneOutput


@dataclass(frozen=True)
class LossOutput:
    """The loss and what it was made of.

    Attributes:
        loss: scalar.
        action_loss: [B, H, A], squared error, zero where masked.
        prediction: [B, H, A], predicted velocity.
        noisy: [B, H, A], the trajectory that the network saw.
        timestep: int64 [B].

    """

    loss: Tensor
    action_loss: Tensor
    prediction: Tensor
    noisy: Tensor
    timestep: Tensor


def sample_time(
    config: Gr00tN1d6Config, batch: int, generator: torch.Generator | None = None
) -> Tensor:
    """Time t = (1 - x) s, x ~ Beta(a, b), float32 [batch] on the CPU; more weight near noise."""
    shape = torch.tensor([config.noise_beta_alpha, config.noise_beta_beta])
    gamma = torch._standard_gamma(shape.expand(batch, 2).contiguous(), generator=generator)
    return (1.0 - gamma[:, 0] / gamma.sum(1)) * config.noise_s


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
    generator: torch.Generator | None = None,
) -> LossOutput:
    """Masked mean squared error of the velocity.

    Args:
        head: the action head.
        backbone: features of the batch.
        state: [B, T_state, max_state_dim], normalised.
        action: [B, H, max_action_dim], normalised.
        action_mask: [B, H, max_action_dim], 1 where the error counts.
        embodiment: int64 [B].
        noise: [B, H, A], drawn if None.
        time: [B] in [0, 1), drawn from the config's Beta distribution if None.
        state_dropout_prob: overrides the config's; as in the reference it acts in eval mode too.
        generator: CPU generator of every draw, the global one if None.

    """
    config, device, dtype = head.config, action.device, head.dtype
    batch = len(action)
    probability = config.state_dropout_prob if state_dropout_prob is None else state_dropout_prob
    if noise is None:
        noise = torch.randn(action.shape, generator=generator).to(device)
    if time is None:
        time = sample_time(config, batch, generator).to(device)

    context = head.context(backbone, state, embodiment)
    tokens = context.state
    if probability > 0:
        if head.mask_token is None:
            raise ValueError("state_dropout_prob is positive but the model has no mask_token")
        drop = torch.rand(batch, generator=generator).to(device) < probability
        tokens = torch.where(drop[:, None, None], head.mask_token, tokens)
    if head.training and config.state_additive_noise_scale > 0:
        draw = torch.randn(tokens.shape, generator=generator).to(device, dtype)
        tokens = tokens + draw * config.state_additive_noise_scale

    t = time[:, None, None]
    noisy = (1 - t) * noise + t * action
    timestep = (time * config.num_timestep_buckets).long()
    action_tokens = head.encode_actions(
        noisy.to(dtype), timestep[:, None].expand(-1, action.shape[1]), embodiment
    )
    out = head.model(
        torch.cat([tokens, action_tokens], dim=1),
        context.features,
        timestep,
        context.attention_mask,
        context.image_mask,
    )
    prediction = head.action_decoder(out, embodiment)[:, -action.shape[1] :]
    action_loss = (prediction - (action - noise)) ** 2 * action_mask
    loss = action_loss.sum() / (action_mask.sum() + 1e-6)
    return LossOutput(loss, action_loss, prediction, noisy, timestep)
