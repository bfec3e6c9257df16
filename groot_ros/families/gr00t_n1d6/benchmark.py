# SPDX-License-Identifier: Apache-2.0
"""One stage of the published GR00T N1.6 with random weights, and inputs for it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from groot_ros.checkpoint.weights import fill_with_random
from groot_ros.core.program import Binding
from groot_ros.families.family import SegmentWork
from groot_ros.families.gr00t_n1d6.backbone import BackboneOutput
from groot_ros.families.gr00t_n1d6.config import Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.network import Gr00tN1d6, build_model
from groot_ros.families.gr00t_n1d6.program import StagedModel, make_staged
from groot_ros.layers.packed_linear import held_bytes, linear_sizes
from groot_ros.layers.patches import normalise_pixels

#: Number of text tokens before, between and after the images.
_TEXT = (30, 2, 8)
_SIZES = ((252, 252), (252, 252))
_STEPS = 4


class BenchmarkCase:
    """See `families.family.BenchmarkCase`; stages are "backbone" and "head".

    Attributes:
        config: configuration of the whole network, for one embodiment.
        device, dtype: device and element type of weights and inputs.
        token_ids: ids of the prompt with its image tokens, without padding.
        image_sizes: (height, width) of every view.
        steps: number of denoising steps.
        seed: seed of weights and inputs.

    """

    def __init__(
        self,
        stage: str,
        config: Gr00tN1d6Config,
        device: torch.device,
        dtype: torch.dtype,
        *,
        image_sizes: Sequence[tuple[int, int]] = _SIZES,
        steps: int = _STEPS,
        seed: int = 0,
    ) -> None:
        self.stage, self.config, self.device, self.dtype = stage, config, device, dtype
        self.image_sizes, self.steps, self.seed = tuple(image_sizes), steps, seed
        eagle = config.eagle
        cell = eagle.vision.patch_size * eagle.shuffle
        ids = [1] * _TEXT[0]
        for after, (height, width) in zip(_TEXT[1:], image_sizes, strict=True):
            image = [eagle.image_token_index] * (height // cell * (width // cell))
            ids += image + [1] * after
        self.token_ids = tuple(ids)
        self.description = f"horizon {config.action_horizon}, {len(ids)} tokens, {steps} steps"

    @property
    def text_tokens(self) -> int:
        """Return the number of tokens of the prompt that do not belong to an image."""
        return sum(i != self.config.eagle.image_token_index for i in self.token_ids)

    def random(self, *size: int, dtype: torch.dtype | None = None) -> Tensor:
        """Draw a standard normal input; it is the same for every implementation."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        return torch.randn(size, generator=generator).to(self.device, dtype or self.dtype)

    def noise(self) -> Tensor:
        """Return the noise, float32 [1, H, A]."""
        shape = (1, self.config.action_horizon, self.config.max_action_dim)
        return self.random(*shape, dtype=torch.float32)

    def state(self) -> Tensor:
        """Return the state, [1, 1, s]."""
        return self.random(1, 1, self.config.max_state_dim)

    def features(self) -> Tensor:
        """Return backbone features, [1, S, D]."""
        return self.random(1, len(self.token_ids), self.config.backbone_embedding_dim)

    def pixels(self) -> Tensor:
        """Return the images of all views, uint8 [V, 3, h, w]."""
        shape = (len(self.image_sizes), 3, *self.image_sizes[0])
        return torch.from_numpy(
            np.random.default_rng(self.seed + 1).integers(0, 256, shape, dtype=np.uint8)
        )

    def images(self) -> list[Tensor]:
        """Return the normalised input images of the network, [1, 3, h, w] each."""
        pixels = normalise_pixels(self.pixels().to(self.device)).to(self.dtype)
        return [image[None] for image in pixels]

    def small_ids(self) -> Tensor:
        """Return token ids, int64 [S], of `model`'s vocabulary: 0 = image token, 1 = text."""
        image = self.config.eagle.image_token_index
        return torch.tensor([int(i != image) for i in self.token_ids])

    def model(self) -> Gr00tN1d6:
        """Return the reference network with this stage at full size.

        The other stage and the vocabulary have their minimal size.
        """
        small = _only(self.stage, self.config)
        model = build_model(small, device="meta", dtype=self.dtype).eval()
        fill_with_random(model, self.device, self.dtype, self.seed)
        return model

    def program(self) -> StagedModel:
        """See `families.family.BenchmarkCase.program`."""
        return make_staged(self.model(), step_counts=(self.steps,))

    def reference(self) -> Callable[[], Tensor]:
        """See `families.family.BenchmarkCase.reference`."""
        model = self.model()
        ids = self.small_ids().to(self.device)[None]
        mask = torch.ones_like(ids)
        if self.stage == "backbone":
            images = self.images()
            return lambda: model.backbone(ids, mask, images).features
        head, noise, state = model.action_head, self.noise(), self.state()
        features = BackboneOutput(self.features(), mask == 1, ids == 0)
        row = torch.zeros(1, dtype=torch.int64, device=self.device)
        return lambda: head.denoise(head.context(features, state, row), noise, self.steps)

    def tensors(self, program: StagedModel) -> tuple[Binding, dict[str, Tensor]]:
        """See `families.family.BenchmarkCase.tensors`."""
        layout = program.layouts.of(self.small_ids().numpy(), self.image_sizes)
        noise = self.noise().cpu()
        zeros = torch.zeros_like(noise)
        observed = {
            "pixels#0": self.pixels(),
            "state": self.state().cpu(),
            "noise": noise,
            "prefix": zeros,
            "start": zeros,
            "weight": zeros,
            "strength": torch.ones_like(zeros),
            "clean": zeros[..., 0].clone(),
        }
        binding = program.bound(layout, program.tables.of(self.steps), observed)
        return binding, {"features": self.features()} if self.stage == "head" else {}

    def work(self, program: StagedModel) -> dict[str, SegmentWork]:
        """Count the work of one run; a product of n rows is 2 n operations per weight."""
        eagle, dit = self.config.eagle, self.config.dit
        tokens, text = len(self.token_ids), self.text_tokens
        modules = program.modules
        if self.stage == "backbone":
            vision, language = modules["vision"], modules["language"]
            cells, views = tokens - text, len(self.image_sizes)
            patches, width = cells * eagle.shuffle**2, eagle.vision.hidden_size
            connector = _weights(vision.first) + _weights(vision.second)
            tower = _weights(vision) - connector
            within_views = 4 * patches**2 / views * width * eagle.vision.num_hidden_layers
            heads = eagle.text.num_attention_heads * eagle.text.head_dim
            causal = 4 * tokens**2 / 2 * heads * self.config.select_layer
            return {
                "vision": SegmentWork(
                    held_bytes(vision), 2 * (patches * tower + cells * connector) + within_views
                ),
                "language": SegmentWork(
                    held_bytes(language), 2 * tokens * _weights(language) + causal
                ),
            }
        context, denoise = modules["context"], modules["denoise"]
        rows, width = self.config.action_horizon + 1, dit.inner_dim
        cross = math.ceil(dit.num_layers / 2)
        # Half of the layers attend to the text, half to the images.
        attended = cross * tokens / 2
        attention = 4 * rows * width * (attended + (dit.num_layers - cross) * rows)
        read = held_bytes(denoise) + 2 * attended * width * self.dtype.itemsize
        tables = program.tables.of(self.steps).nbytes
        return {
            "context": SegmentWork(held_bytes(context), 2 * tokens / 2 * _weights(context)),
            "denoise": SegmentWork(
                self.steps * read + tables,
                self.steps * (2 * rows * _weights(denoise) + attention),
            ),
        }


def published_config(horizon: int) -> Gr00tN1d6Config:
    """Return the configuration of published size for one embodiment."""
    return Gr00tN1d6Config(
        max_state_dim=128, max_action_dim=128, action_horizon=horizon, max_num_embodiments=1
    )


def resident_bytes(horizon: int, dtype: torch.dtype) -> int:
    """Return the memory of the staged model in bytes, with token embeddings and tables."""
    model = build_model(published_config(horizon), device="meta", dtype=dtype)
    program = make_staged(model, step_counts=(_STEPS,))
    return program.nbytes + program.layouts.nbytes


def _only(stage: str, config: Gr00tN1d6Config) -> Gr00tN1d6Config:
    eagle = config.eagle
    if stage == "head":
        eagle = replace(eagle, vision=replace(eagle.vision, num_hidden_layers=1))
        config = replace(config, select_layer=1)
    else:
        config = replace(config, dit=replace(config.dit, num_layers=2))
    text = replace(eagle.text, vocab_size=2)
    return replace(config, eagle=replace(eagle, text=text, image_token_index=0))


def _weights(module: object) -> int:
    assert isinstance(module, nn.Module)
    return sum(linear_sizes(module))
