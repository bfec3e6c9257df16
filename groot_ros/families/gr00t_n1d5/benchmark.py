# SPDX-License-Identifier: Apache-2.0
"""One stage of the published GR00T N1.5 with random weights, and inputs for it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from groot_ros.checkpoint.weights import fill_with_random
from groot_ros.core.program import Binding
from groot_ros.families.family import SegmentWork
from groot_ros.families.gr00t_n1d5.config import Gr00tN1d5Config
from groot_ros.families.gr00t_n1d5.network import Gr00tN1d5, build_model
from groot_ros.families.gr00t_n1d5.program import StagedModel, make_staged
from groot_ros.layers.packed_linear import held_bytes, linear_sizes
from groot_ros.layers.patches import normalise_pixels

#: Number of text tokens before, between and after the images.
_TEXT = (22, 6, 30)
_VIEWS, _STEPS = 2, 4


class BenchmarkCase:
    """See `families.family.BenchmarkCase`; stages are "backbone" and "head".

    Attributes:
        config: configuration of the whole network, for one embodiment.
        device, dtype: device and element type of weights and inputs.
        steps: number of denoising steps.

    """

    def __init__(
        self, stage: str, config: Gr00tN1d5Config, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.stage, self.config, self.device, self.dtype = stage, config, device, dtype
        self.steps = _STEPS
        ids = [1] * _TEXT[0]
        for after in _TEXT[1:]:
            ids += [0] * config.eagle.tile_tokens + [1] * after
        #: Token ids of `model`'s vocabulary: 0 = image token, 1 = text.
        self.token_ids = np.array(ids, dtype=np.int64)
        horizon = config.head.action_horizon
        self.description = f"horizon {horizon}, {len(ids)} tokens, {_STEPS} steps"

    def random(self, *size: int, dtype: torch.dtype | None = None) -> Tensor:
        """Draw a standard normal input; it is the same for every implementation."""
        generator = torch.Generator().manual_seed(1)
        return torch.randn(size, generator=generator).to(self.device, dtype or self.dtype)

    def noise(self) -> Tensor:
        """Return the noise, float32 [1, H, A]."""
        head = self.config.head
        return self.random(1, head.action_horizon, head.action_dim, dtype=torch.float32)

    def state(self) -> Tensor:
        """Return the state, [1, 1, s]."""
        return self.random(1, 1, self.config.head.max_state_dim)

    def features(self) -> Tensor:
        """Return backbone features, [1, S, D]."""
        return self.random(1, len(self.token_ids), self.config.feature_width)

    def tiles(self) -> Tensor:
        """Return the tiles of all views, uint8 [V, 3, S, S]."""
        size = self.config.eagle.vision.image_size
        shape = (_VIEWS, 3, size, size)
        return torch.from_numpy(np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8))

    def model(self) -> Gr00tN1d5:
        """Return the reference network with this stage at full size.

        The other stage and the vocabulary have their minimal size.
        """
        model = build_model(_only(self.stage, self.config), device="meta", dtype=self.dtype).eval()
        fill_with_random(model, self.device, self.dtype)
        return model

    def program(self) -> StagedModel:
        """See `families.family.BenchmarkCase.program`."""
        return make_staged(self.model(), step_counts=(self.steps,))

    def reference(self) -> Callable[[], Tensor]:
        """See `families.family.BenchmarkCase.reference`."""
        model = self.model()
        if self.stage == "backbone":
            ids = torch.from_numpy(self.token_ids).to(self.device)[None]
            mask = torch.ones_like(ids)
            tiles = normalise_pixels(self.tiles().to(self.device)).to(self.dtype)
            return lambda: model.backbone(ids, mask, tiles).features
        head, noise, state = model.action_head, self.noise(), self.state()
        features = self.features()
        row = torch.zeros(1, dtype=torch.int64, device=self.device)
        return lambda: head.denoise(head.context(features, state, row), noise, self.steps)

    def tensors(self, program: StagedModel) -> tuple[Binding, dict[str, Tensor]]:
        """See `families.family.BenchmarkCase.tensors`."""
        noise = self.noise().cpu()
        zeros = torch.zeros_like(noise)
        observed = {
            "tiles": self.tiles(),
            "state": self.state().cpu(),
            "noise": noise,
            "prefix": zeros,
            "start": zeros,
            "weight": zeros,
            "strength": torch.ones_like(zeros),
            "clean": zeros[..., 0].clone(),
        }
        prompt = program.prompts.of(self.token_ids)
        binding = program.bound(prompt, program.tables.of(self.steps), observed)
        return binding, {"features": self.features()} if self.stage == "head" else {}

    def work(self, program: StagedModel) -> dict[str, SegmentWork]:
        """Count the work of one run; a product of n rows is 2 n operations per weight."""
        eagle, head = self.config.eagle, self.config.head
        tokens, modules = len(self.token_ids), program.modules
        if self.stage == "backbone":
            vision, language = modules["vision"], modules["language"]
            patches, width = _VIEWS * eagle.vision.side**2, eagle.vision.hidden_size
            within = 4 * patches**2 / _VIEWS * width * eagle.vision.num_hidden_layers
            heads = eagle.text.num_attention_heads * eagle.text.head_dim
            causal = 4 * tokens**2 / 2 * heads * self.config.backbone.select_layer
            return {
                "vision": SegmentWork(held_bytes(vision), 2 * patches * _weights(vision) + within),
                "language": SegmentWork(
                    held_bytes(language), 2 * tokens * _weights(language) + causal
                ),
            }
        context, denoise = modules["context"], modules["denoise"]
        width, layers = head.dit.inner_dim, head.dit.num_layers
        rows = 1 + head.future_tokens + head.action_horizon
        cross = (layers + 1) // 2
        attention = 4 * rows * width * (cross * tokens + (layers - cross) * rows)
        own = head.vl_self_attention
        within = 4 * tokens**2 * own.inner_dim * own.num_layers
        read = held_bytes(denoise) + 2 * cross * tokens * width * self.dtype.itemsize
        return {
            "context": SegmentWork(held_bytes(context), 2 * tokens * _weights(context) + within),
            "denoise": SegmentWork(
                self.steps * read + program.tables.of(self.steps).nbytes,
                self.steps * (2 * rows * _weights(denoise) + attention),
            ),
        }


def published_config(horizon: int) -> Gr00tN1d5Config:
    """Return the configuration of published size for one embodiment."""
    config = Gr00tN1d5Config()
    head = replace(config.head, action_horizon=horizon, max_num_embodiments=1)
    return replace(config, head=head)


def resident_bytes(horizon: int, dtype: torch.dtype) -> int:
    """Return the memory of the staged model in bytes, with token embeddings and tables."""
    model = build_model(published_config(horizon), device="meta", dtype=dtype)
    program = make_staged(model, step_counts=(_STEPS,))
    return program.nbytes + program.prompts.nbytes


def _only(stage: str, config: Gr00tN1d5Config) -> Gr00tN1d5Config:
    eagle, head, backbone = config.eagle, config.head, config.backbone
    if stage == "head":
        eagle = replace(eagle, vision=replace(eagle.vision, num_hidden_layers=1))
        backbone = replace(backbone, select_layer=1)
    else:
        head = replace(
            head,
            dit=replace(head.dit, num_layers=2),
            vl_self_attention=replace(head.vl_self_attention, num_layers=1),
        )
    text = replace(eagle.text, vocab_size=2)
    eagle = replace(eagle, text=text, image_token_index=0)
    return Gr00tN1d5Config(eagle, backbone, head)


def _weights(module: nn.Module) -> int:
    return sum(linear_sizes(module))
