# SPDX-License-Identifier: Apache-2.0
"""SigLIP vision tower of a fixed image size; its layers are those of Siglip2 without windows.

Module names are those of the checkpoint's keys.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from groot_ros.core.config_reader import Fields
from groot_ros.layers.siglip2 import Layer


@dataclass(frozen=True)
class SiglipConfig:
    """Configuration of the SigLIP tower; the defaults are those of GR00T N1.5's Eagle-2."""

    hidden_size: int = 1152
    intermediate_size: int = 4304
    num_hidden_layers: int = 27
    num_attention_heads: int = 16
    num_channels: int = 3
    image_size: int = 224
    patch_size: int = 14
    layer_norm_eps: float = 1e-6

    @property
    def side(self) -> int:
        """Return the number of patches along one side of an image."""
        return self.image_size // self.patch_size

    @classmethod
    def parse(cls, f: Fields) -> "SiglipConfig":
        """Read the `vision_config` section of the VLM's config."""
        f.expect("model_type", "siglip_vision_model", "siglip_vision_model")
        f.expect("hidden_act", "gelu_pytorch_tanh", "gelu_pytorch_tanh")
        return cls(
            hidden_size=f.integer("hidden_size", 768, at_least=1),
            intermediate_size=f.integer("intermediate_size", 3072, at_least=1),
            num_hidden_layers=f.integer("num_hidden_layers", 12, at_least=1),
            num_attention_heads=f.integer("num_attention_heads", 12, at_least=1),
            num_channels=f.integer("num_channels", 3, at_least=1),
            image_size=f.integer("image_size", 224, at_least=1),
            patch_size=f.integer("patch_size", 16, at_least=1),
            layer_norm_eps=f.number("layer_norm_eps", 1e-6),
        )


class Embeddings(nn.Module):
    """Patch convolution plus learned position embeddings of one fixed grid."""

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv2d(
            config.num_channels, config.hidden_size, config.patch_size, stride=config.patch_size
        )
        self.position_embedding = nn.Embedding(config.side**2, config.hidden_size)
        nn.init.normal_(self.position_embedding.weight, std=config.hidden_size**-0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Embed normalised pixels [N, C, S, S] as [N, patches, D], row-major."""
        patches = self.patch_embedding(images.to(self.patch_embedding.weight.dtype))
        return patches.flatten(2).transpose(1, 2) + self.position_embedding.weight


class Encoder(nn.Module):
    """Stack of layers with attention within each image."""

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))


class Siglip(nn.Module):
    """SigLIP tower from images to one of its hidden states.

    Attributes:
        used_layers: number of layers that are computed.
        normed: True if the post layer norm is applied to the result.

    """

    def __init__(self, config: SiglipConfig, select_layer: int = -1) -> None:
        """Build the tower.

        Args:
            config: sizes.
            select_layer: -1 = the last hidden state after the post layer norm; any other value is
                an index into the hidden states, the embeddings being number 0.

        """
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.normed = select_layer == -1
        self.used_layers = select_layer % (config.num_hidden_layers + 1)

    def forward(self, images: Tensor, trace: list[Tensor] | None = None) -> Tensor:
        """Encode images [N, C, S, S] as [N, patches, D].

        Args:
            images: normalised pixels [N, C, S, S].
            trace: if given, collects all hidden states and the last one after the post layer norm;
                all layers are computed then.

        """
        x = self.embeddings(images)
        selected = x
        if trace is not None:
            trace.append(x)
        for number, layer in enumerate(self.encoder.layers, start=1):
            if number > self.used_layers and trace is None:
                break
            x = layer(x)
            if trace is not None:
                trace.append(x)
            if number == self.used_layers:
                selected = x
        if trace is not None:
            trace.append(self.post_layernorm(x))
        return self.post_layernorm(selected) if self.normed else selected
