"""Which parameters learn: the `tune_*` switches of the checkpoint's config."""

from collections.abc import Iterator

from torch import nn

from groot_ros.models.gr00t_n1d6.config import Gr00tN1d6Config
from groot_ros.models.gr00t_n1d6.model import Gr00tN1d6


def frozen_modules(model: Gr00tN1d6, config: Gr00tN1d6Config) -> Iterator[nn.Module]:
    """The parts whose switch is off."""
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
    """Set requires_grad by the config's switches; returns the parameters that learn.

    The top `tune_top_llm_layers` of the language model learn even where `tune_llm` is off.
    """
    config = model.config
    model.requires_grad_(True)
    for module in frozen_modules(model, config):
        module.requires_grad_(False)
    if model.action_head.mask_token is not None:
        model.action_head.mask_token.requires_grad_(config.tune_projector)
    if config.tune_top_llm_layers > 0:
        for layer in list(model.backbone.model.text.layers)[-config.tune_top_llm_layers :]:
            layer.requires_grad_(True)
    return [p for p in model.parameters() if p.requires_grad]


def train_mode(model: Gr00tN1d6) -> None:
    """Training mode, with the frozen parts kept in eval mode (no dropout there)."""
    model.train()
    for module in frozen_modules(model, model.config):
        module.eval()
