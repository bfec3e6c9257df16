# SPDX-License-Identifier: Apache-2.0
"""Configuration of VIMA: sizes of its networks, from a config file and from shapes of weights.

A public checkpoint states four sizes of the controller only. What a configuration does not state is
taken from the shapes of the tensors (`config_from_weights.py`), and what these do not determine has
the values of the public models.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from groot_ros.core.config_reader import Fields

MODEL_TYPE = "vima"
#: Parts of an action, in the order in which they are encoded.
POSITIONS = ("pose0_position", "pose1_position")
ROTATIONS = ("pose0_rotation", "pose1_rotation")
PARTS = tuple(sorted(POSITIONS + ROTATIONS))
_ACTIVATIONS = ("relu", "gelu", "gated-relu", "gated-gelu")
#: End effectors of the public models, in the order of their embeddings.
END_EFFECTORS = ("suction", "spatula")


@dataclass(frozen=True)
class MlpConfig:
    """Sizes of a perceptron: hidden layers of equal width."""

    hidden_dim: int
    hidden_depth: int

    @classmethod
    def parse(cls, f: Fields) -> "MlpConfig":
        """Parse one section."""
        return cls(f.integer("hidden_dim", at_least=1), f.integer("hidden_depth"))


@dataclass(frozen=True)
class ObjectConfig:
    """Sizes of the object encoder; keys of the section `vit` have these names."""

    vit_output_dim: int = 768
    vit_resolution: int = 32
    vit_patch_size: int = 16
    vit_width: int = 768
    vit_layers: int = 4
    vit_heads: int = 24
    bbox_mlp_hidden_dim: int = 768
    bbox_mlp_hidden_depth: int = 2

    @classmethod
    def parse(cls, f: Fields) -> "ObjectConfig":
        """Parse the section `vit`."""
        default = cls()
        sizes = {name: f.integer(name, value, at_least=1) for name, value in vars(default).items()}
        config = cls(**sizes)
        _require_multiple(f, "vit_width", config.vit_width, config.vit_heads, "'vit_heads'")
        patch = config.vit_patch_size
        _require_multiple(f, "vit_resolution", config.vit_resolution, patch, "'vit_patch_size'")
        return config


@dataclass(frozen=True)
class PromptConfig:
    """Sizes of the T5 encoder, named as in its own config.json; the defaults are T5-base."""

    d_model: int = 768
    d_kv: int = 64
    d_ff: int = 3072
    num_layers: int = 12
    num_heads: int = 12
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    layer_norm_epsilon: float = 1e-6
    feed_forward_proj: str = "relu"

    @classmethod
    def parse(cls, f: Fields) -> "PromptConfig":
        """Parse the section `t5`."""
        default = vars(cls())
        sizes = {n: f.integer(n, v, at_least=1) for n, v in default.items() if isinstance(v, int)}
        return cls(
            **sizes,
            layer_norm_epsilon=f.number("layer_norm_epsilon", cls.layer_norm_epsilon, above=0.0),
            feed_forward_proj=f.choice("feed_forward_proj", _ACTIVATIONS, cls.feed_forward_proj),
        )


def _public_bins() -> dict[str, tuple[int, ...]]:
    return {name: (50, 100) if name in POSITIONS else (50,) * 4 for name in PARTS}


@dataclass(frozen=True)
class VimaConfig:
    """Sizes of the whole network.

    Attributes:
        embed_dim: width of the controller.
        xf_n_layers: layers of the controller.
        sattn_n_heads, xattn_n_heads: heads of its self-attention and of its cross-attention.
        n_positions: largest number of tokens in a history.
        xattn_n_positions: largest number of tokens in a prompt.
        xattn_ff_expanding: width of the cross-attention's feed-forward layer / embed_dim.
        use_geglu: gated feed-forward layers.
        objects: object encoder.
        prompt: T5 encoder.
        word_vocab: rows of the word table.
        action_embed: perceptrons that encode the parts of an action.
        action_embed_output: width of each encoded part.
        action_decoder: perceptrons that decode them.
        prompt_obj_post: perceptron from object tokens to the prompt's width.
        views: cameras, sorted by name.
        end_effectors: rows and width of the end effector's table.
        bins: part of an action -> bins of each coordinate.

    """

    embed_dim: int
    xf_n_layers: int
    sattn_n_heads: int
    xattn_n_heads: int
    n_positions: int = 512
    xattn_n_positions: int = 256
    xattn_ff_expanding: int = 4
    use_geglu: bool = True
    objects: ObjectConfig = field(default_factory=ObjectConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    word_vocab: int = 32128
    action_embed: MlpConfig = field(default_factory=lambda: MlpConfig(256, 1))
    action_embed_output: int = 256
    action_decoder: MlpConfig = field(default_factory=lambda: MlpConfig(512, 2))
    prompt_obj_post: MlpConfig = field(default_factory=lambda: MlpConfig(768, 2))
    views: tuple[str, ...] = ("front", "top")
    end_effectors: tuple[int, int] = (2, 2)
    bins: Mapping[str, tuple[int, ...]] = field(default_factory=_public_bins)

    @classmethod
    def parse(cls, f: Fields) -> "VimaConfig":
        """Parse the keys of a config file; absent ones have the values of the public models.

        Raises:
            CheckpointError: a value is missing, malformed or does not fit another one.

        """
        public = PUBLIC["2M"]
        embed = f.section("action_embed", {})
        action_embed = {**asdict(public.action_embed), **embed.value}
        config = cls(
            embed_dim=f.integer("embed_dim", at_least=1),
            xf_n_layers=f.integer("xf_n_layers", at_least=1),
            sattn_n_heads=f.integer("sattn_n_heads", at_least=1),
            xattn_n_heads=f.integer("xattn_n_heads", at_least=1),
            n_positions=f.integer("n_positions", public.n_positions, at_least=1),
            xattn_n_positions=f.integer("xattn_n_positions", public.xattn_n_positions, at_least=1),
            xattn_ff_expanding=f.integer(
                "xattn_ff_expanding", public.xattn_ff_expanding, at_least=1
            ),
            use_geglu=f.flag("use_geglu", public.use_geglu),
            objects=ObjectConfig.parse(f.section("vit", {})),
            prompt=PromptConfig.parse(f.section("t5", {})),
            word_vocab=f.integer("word_vocab", public.word_vocab, at_least=1),
            action_embed=MlpConfig.parse(Fields(action_embed, embed.where)),
            action_embed_output=embed.integer("output_dim", public.action_embed_output, at_least=1),
            action_decoder=MlpConfig.parse(
                f.section("action_decoder", asdict(public.action_decoder))
            ),
            prompt_obj_post=MlpConfig.parse(
                f.section("prompt_obj_post", asdict(public.prompt_obj_post))
            ),
            views=tuple(sorted(f.names("views", public.views))),
            end_effectors=_pair(f, "end_effectors", public.end_effectors),
            bins=_bins(f.section("bins", dict(public.bins))),
        )
        for heads in ("sattn_n_heads", "xattn_n_heads"):
            _require_multiple(f, "embed_dim", config.embed_dim, f.integer(heads), f"'{heads}'")
        return config

    def to_json(self) -> dict[str, Any]:
        """Return the contents of a config file that `parse` reads back."""
        sizes = asdict(self)
        objects, prompt = sizes.pop("objects"), sizes.pop("prompt")
        embed = {**sizes.pop("action_embed"), "output_dim": sizes.pop("action_embed_output")}
        return {
            "model_type": MODEL_TYPE,
            **sizes,
            "vit": objects,
            "t5": prompt,
            "action_embed": embed,
        }


def _public(embed_dim: int, layers: int) -> VimaConfig:
    heads = embed_dim // 32
    return VimaConfig(embed_dim, layers, heads, heads)


#: Public checkpoints by the parameters of the controller; object encoder and T5-base are on top.
PUBLIC = {
    "2M": _public(256, 1),
    "4M": _public(256, 2),
    "9M": _public(320, 3),
    "20M": _public(384, 4),
    "43M": _public(512, 5),
    "92M": _public(640, 7),
    "200M": _public(768, 11),
}


def _pair(f: Fields, key: str, default: tuple[int, int]) -> tuple[int, int]:
    values = f.items(key, int, default)
    if len(values) != 2 or min(values) < 1:
        raise f.error(key, f"must be two whole numbers [rows, width] >= 1, not {list(values)}")
    return values[0], values[1]


def _bins(f: Fields) -> dict[str, tuple[int, ...]]:
    found = {}
    for name in PARTS:
        found[name] = f.items(name, int)
        expected = 2 if name in POSITIONS else 4
        if len(found[name]) != expected or min(found[name]) < 2:
            raise f.error(name, f"must be {expected} numbers of bins >= 2, not {list(found[name])}")
    f.finish()
    return found


def _require_multiple(f: Fields, key: str, value: int, divisor: int, name: str) -> None:
    if value % divisor:
        raise f.error(key, f"is {value}, which must be a multiple of {name}, {divisor}")
