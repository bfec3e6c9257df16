"""Stage "language": embeddings of text and images to features."""

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.models.gr00t_n1d6 import qwen3
from groot_ros.models.gr00t_n1d6.config import TextConfig
from groot_ros.runtime.gr00t_n1d6.attend import Attend
from groot_ros.runtime.gr00t_n1d6.fold import drain, stack


class LanguageLayer(nn.Module):
    """A layer with query, key and value in one product, gate and up in another."""

    def __init__(self, config: TextConfig, layer: qwen3.Layer) -> None:
        super().__init__()
        plain, mlp = layer.self_attn, layer.mlp
        self.head_dim = config.head_dim
        self.heads, self.groups = config.num_attention_heads, config.num_key_value_heads
        self.norm1, self.norm2 = layer.input_layernorm, layer.post_attention_layernorm
        self.q_norm, self.k_norm = plain.q_norm, plain.k_norm
        self.qkv = stack([plain.q_proj, plain.k_proj, plain.v_proj])
        self.out = plain.o_proj
        self.gate_up = stack([mlp.gate_proj, mlp.up_proj])
        self.down = mlp.down_proj
        self.attend = Attend(causal=True)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[1, S, C] to [1, S, C]."""
        heads = self.qkv(self.norm1(x)).unflatten(-1, (-1, self.head_dim))
        q, k, v = heads.split([self.heads, self.groups, self.groups], dim=2)
        q = qwen3.rotate_half(self.q_norm(q).transpose(1, 2), cos, sin)
        k = qwen3.rotate_half(self.k_norm(k).transpose(1, 2), cos, sin)
        x = x + self.out(self.attend(q, k, v.transpose(1, 2)))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Language(nn.Module):
    """The text tower; takes the weights of the plain one over, but not its token embeddings."""

    def __init__(self, config: TextConfig, plain: qwen3.Qwen3) -> None:
        super().__init__()
        layers = drain(plain.layers, qwen3.Layer)
        self.layers = nn.ModuleList(LanguageLayer(config, layer) for layer in layers)
        self.norm = plain.norm

    def forward(self, embeddings: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[1, S, D], [S, d] and [S, d] to [1, S, D]."""
        x = embeddings
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)
