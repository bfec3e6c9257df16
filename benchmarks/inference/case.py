"""What is measured: the published model, one prompt, two views."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from groot_ros.models.gr00t_n1d6 import Gr00tN1d6, Gr00tN1d6Config, build_model

PARTS = ("backbone", "head")
#: Tokens of text before, between and after the images; image sizes; denoising steps; seed.
_TEXT, _SIZES, _STEPS, _SEED = (30, 2, 8), ((252, 252), (252, 252)), 4, 0
#: Values of a matrix before they repeat: drawing billions takes longer than measuring.
_BLOCK = 1 << 24


@dataclass(frozen=True)
class Case:
    """One model and one observation.

    Attributes:
        config: of the whole model at its published size, cut to one embodiment.
        device, dtype: of weights and inputs.
        token_ids: of the prompt with its image tokens, without padding.
        image_sizes: (height, width) of every view.
        steps: denoising steps.
        seed: of weights and inputs.

    """

    config: Gr00tN1d6Config
    device: torch.device
    dtype: torch.dtype
    token_ids: tuple[int, ...]
    image_sizes: tuple[tuple[int, int], ...]
    steps: int
    seed: int

    @classmethod
    def published(cls, horizon: int, device: torch.device, dtype: torch.dtype) -> "Case":
        """The checkpoint that everybody starts from."""
        config = Gr00tN1d6Config(
            max_state_dim=128, max_action_dim=128, action_horizon=horizon, max_num_embodiments=1
        )
        cell = config.eagle.vision.patch_size * config.eagle.shuffle
        ids = [1] * _TEXT[0]
        for after, (height, width) in zip(_TEXT[1:], _SIZES, strict=True):
            image = [config.eagle.image_token_index] * (height // cell * (width // cell))
            ids += image + [1] * after
        return cls(config, device, dtype, tuple(ids), _SIZES, _STEPS, _SEED)

    @property
    def text_tokens(self) -> int:
        """Tokens of the prompt that are not of an image."""
        return sum(i != self.config.eagle.image_token_index for i in self.token_ids)

    def random(self, *size: int, dtype: torch.dtype | None = None) -> Tensor:
        """Standard normal input, the same for every implementation; weights' dtype if None."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        return torch.randn(size, generator=generator).to(self.device, dtype or self.dtype)

    def noise(self) -> Tensor:
        """Float32 [1, H, A]."""
        shape = (1, self.config.action_horizon, self.config.max_action_dim)
        return self.random(*shape, dtype=torch.float32)

    def state(self) -> Tensor:
        """[1, 1, s]."""
        return self.random(1, 1, self.config.max_state_dim)

    def features(self) -> Tensor:
        """[1, S, D]."""
        return self.random(1, len(self.token_ids), self.config.backbone_embedding_dim)

    def images(self) -> list[Tensor]:
        """[1, 3, h, w] each."""
        return [self.random(1, 3, *size) for size in self.image_sizes]

    def small_ids(self) -> Tensor:
        """Token ids int64 [S] for the vocabulary of `model`: 0 is the image token, 1 all text."""
        image = self.config.eagle.image_token_index
        return torch.tensor([int(i != image) for i in self.token_ids])

    def model(self, part: str) -> Gr00tN1d6:
        """The plain model, random; the other part, and the vocabulary, as small as they can be."""
        model = build_model(_only(part, self.config), device="meta", dtype=self.dtype).eval()
        generator = torch.Generator(self.device).manual_seed(self.seed)
        block = torch.empty(_BLOCK, dtype=self.dtype, device=self.device)
        block.normal_(std=0.02, generator=generator)
        for number, (name, parameter) in enumerate(list(model.named_parameters())):
            tensor = torch.empty(parameter.shape, dtype=self.dtype, device=self.device)
            if tensor.ndim > 1:
                _repeat(block.roll(997 * number), tensor.view(-1))
            else:
                # Norms 1 and biases 0, as at the start of a training.
                tensor.fill_(float(name.endswith("weight")))
            owner, _, leaf = name.rpartition(".")
            weight = torch.nn.Parameter(tensor, requires_grad=False)
            setattr(model.get_submodule(owner), leaf, weight)
        return model


def _only(part: str, config: Gr00tN1d6Config) -> Gr00tN1d6Config:
    eagle = config.eagle
    if part == "head":
        eagle = replace(eagle, vision=replace(eagle.vision, num_hidden_layers=1))
        config = replace(config, select_layer=1)
    else:
        config = replace(config, dit=replace(config.dit, num_layers=2))
    text = replace(eagle.text, vocab_size=2)
    return replace(config, eagle=replace(eagle, text=text, image_token_index=0))


def _repeat(block: Tensor, target: Tensor) -> None:
    for start in range(0, len(target), len(block)):
        piece = target[start : start + len(block)]
        piece.copy_(block[: len(piece)])
