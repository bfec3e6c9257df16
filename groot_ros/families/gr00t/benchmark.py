# SPDX-License-Identifier: Apache-2.0
"""One stage of a published network with random weights, and inputs for it."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from groot_ros.checkpoint.weights import fill_with_random
from groot_ros.core.program import Binding
from groot_ros.families.gr00t.network import Gr00tNetwork
from groot_ros.families.gr00t.staged_model import StagedModel
from groot_ros.layers.eagle import BackboneOutput
from groot_ros.layers.packed_linear import linear_sizes
from groot_ros.layers.patches import normalise_pixels
from groot_ros.layers.staged_head import conditioning_tensors

STEPS = 4


class Gr00tBenchmarkCase:
    """See `families.family.BenchmarkCase`; stages are "backbone" and "head".

    Attributes:
        config: configuration of the whole network, for one embodiment.
        device, dtype: device and element type of weights and inputs.
        steps: number of denoising steps.
        seed: seed of weights and inputs.
        token_ids: ids of the prompt without padding: 0 = image token, 1 = text.

    """

    staged: ClassVar[type[StagedModel]]
    token_ids: np.ndarray
    description: str

    def __init__(
        self,
        stage: str,
        config: Any,
        device: torch.device,
        dtype: torch.dtype,
        steps: int = STEPS,
        seed: int = 0,
    ) -> None:
        self.stage, self.config, self.device, self.dtype = stage, config, device, dtype
        self.steps, self.seed = steps, seed

    def describe(self, token_ids: list[int]) -> None:
        """Set the prompt and the description of the inputs."""
        self.token_ids = np.array(token_ids, dtype=np.int64)
        horizon = self.config.head.action_horizon
        self.description = f"horizon {horizon}, {len(token_ids)} tokens, {self.steps} steps"

    def random(self, *size: int, dtype: torch.dtype | None = None) -> Tensor:
        """Draw a standard normal input; it is the same for every implementation."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        return torch.randn(size, generator=generator).to(self.device, dtype or self.dtype)

    @staticmethod
    def published_config(horizon: int) -> Any:
        """Return the configuration of published size for one embodiment."""
        raise NotImplementedError

    @classmethod
    def resident_bytes(cls, horizon: int, dtype: torch.dtype) -> int:
        """Return the memory of the staged model in bytes, with token embeddings and tables."""
        network: type[Gr00tNetwork] = cls.staged.weights.network
        model = network.build(cls.published_config(horizon), device="meta", dtype=dtype)
        program = cls.staged.convert(model, step_counts=(STEPS,))
        return program.nbytes + program.prompts.nbytes

    @property
    def columns(self) -> int:
        """Return the number of columns of an action."""
        raise NotImplementedError

    @property
    def image_shape(self) -> tuple[int, int, int, int]:
        """Return the shape of the images of all views, [V, 3, h, w]."""
        raise NotImplementedError

    def small_config(self) -> Any:
        """Return the configuration with the other stage and the vocabulary at minimal size."""
        raise NotImplementedError

    def noise(self) -> Tensor:
        """Return the noise, float32 [1, H, A]."""
        return self.random(1, self.config.head.action_horizon, self.columns, dtype=torch.float32)

    def state(self) -> Tensor:
        """Return the state, [1, 1, s]."""
        return self.random(1, 1, self.config.head.max_state_dim)

    def features(self) -> Tensor:
        """Return backbone features, [1, S, D]."""
        return self.random(1, len(self.token_ids), self.config.head.backbone_embedding_dim)

    def pixels(self) -> Tensor:
        """Return the images of all views, uint8 [V, 3, h, w]."""
        rng = np.random.default_rng(self.seed + 1)
        return torch.from_numpy(rng.integers(0, 256, self.image_shape, dtype=np.uint8))

    def model(self) -> Gr00tNetwork:
        """Return the reference network with this stage at full size."""
        network: type[Gr00tNetwork] = self.staged.weights.network
        model = network.build(self.small_config(), device="meta", dtype=self.dtype).eval()
        fill_with_random(model, self.device, self.dtype, self.seed)
        return model

    def program(self) -> Any:
        """See `families.family.BenchmarkCase.program`."""
        return self.staged.convert(self.model(), step_counts=(self.steps,))

    def reference(self) -> Callable[[], Tensor]:
        """See `families.family.BenchmarkCase.reference`."""
        model = self.model()
        ids = torch.from_numpy(self.token_ids).to(self.device)[None]
        mask = torch.ones_like(ids)
        if self.stage == "backbone":
            images = list(normalise_pixels(self.pixels().to(self.device)).to(self.dtype)[:, None])
            return lambda: model.backbone(ids, mask, images).features
        head, noise, state = model.action_head, self.noise(), self.state()
        features = BackboneOutput(self.features(), mask == 1, ids == 0)
        row = torch.zeros(1, dtype=torch.int64, device=self.device)
        return lambda: head.denoise(head.context(features, state, row), noise, self.steps)

    def observed(self) -> dict[str, Tensor]:
        """Return the observed tensors besides the images, without a prefix."""
        noise = self.noise().cpu()
        return {
            "state": self.state().cpu(),
            "noise": noise,
            **conditioning_tensors({"noise": noise.numpy()}),
        }

    def bound(self, program: Any) -> Binding:
        """Return a bound observation."""
        raise NotImplementedError

    def tensors(self, program: Any) -> tuple[Binding, dict[str, Tensor]]:
        """See `families.family.BenchmarkCase.tensors`."""
        return self.bound(program), {"features": self.features()} if self.stage == "head" else {}


def count_weights(module: nn.Module) -> int:
    """Return the number of weights of all linear layers."""
    return sum(linear_sizes(module))
