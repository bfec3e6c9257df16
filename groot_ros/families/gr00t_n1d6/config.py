# SPDX-License-Identifier: Apache-2.0
"""Configuration of a GR00T N1.6 checkpoint: its config.json and the config of its VLM."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from groot_ros.core.config_reader import Fields
from groot_ros.layers.action_head import MAX_SIZE, FlowHeadConfig
from groot_ros.layers.dit import DiTConfig
from groot_ros.layers.qwen3 import TextConfig
from groot_ros.layers.siglip2 import VisionConfig

MODEL_TYPE = "Gr00tN1d6"


@dataclass(frozen=True)
class EagleConfig:
    """Configuration of the VLM; its file is not part of a published GR00T checkpoint."""

    vision: VisionConfig = field(
        default_factory=lambda: VisionConfig(use_rope=False, use_windows_attn=False)
    )
    text: TextConfig = field(default_factory=TextConfig)
    image_token_index: int = 151669
    downsample_ratio: float = 0.5

    @property
    def shuffle(self) -> int:
        """Return the side of the square of patches that becomes one token."""
        return round(1 / self.downsample_ratio)

    @classmethod
    def parse(cls, f: Fields) -> "EagleConfig":
        """Parse the VLM's config.json (or eagle_config.json)."""
        f.expect("model_type", "eagle_3_vl", "eagle_3_vl")
        f.expect("select_layer", -1, -1)
        f.expect("use_pixel_shuffle", True, True)
        f.expect("use_backbone_lora", 0, 0)
        f.expect("use_llm_lora", 0, 0)
        return cls(
            vision=VisionConfig.parse(f.section("vision_config")),
            text=TextConfig.parse(f.section("text_config")),
            image_token_index=f.integer("image_token_index"),
            downsample_ratio=_one_over_a_whole_number(f, "downsample_ratio", 0.5),
        )

    @classmethod
    def read(cls, path: Path) -> "EagleConfig":
        """Read the VLM's config file; CheckpointError names file and key."""
        return cls.parse(Fields.read(path))

    def to_json(self) -> dict[str, Any]:
        """Return the contents of a file that `read` reads back."""
        return {
            "model_type": "eagle_3_vl",
            "image_token_index": self.image_token_index,
            "downsample_ratio": self.downsample_ratio,
            "select_layer": -1,
            "use_pixel_shuffle": True,
            "vision_config": {"model_type": "siglip2_vision_model", **asdict(self.vision)},
            "text_config": {"model_type": "qwen3", **asdict(self.text)},
        }


def _one_over_a_whole_number(f: Fields, key: str, default: float) -> float:
    value = f.number(key, default)
    if not 0.001 < value <= 1.0 or abs(1 / value - round(1 / value)) > 1e-6:
        raise f.error(key, f"is {value:g}, not one over a whole number, such as 0.5")
    return value


@dataclass(frozen=True)
class Gr00tN1d6Config(FlowHeadConfig):
    """Contents of a checkpoint's config.json; an omitted key has the default given here.

    Attributes:
        select_layer: number of layers of the language model that are kept.
        action_horizon: steps that the head denoises; an embodiment may use fewer.

    """

    eagle: EagleConfig = field(default_factory=EagleConfig)
    model_name: str = "nvidia/Eagle-Block2A-2B-v2"
    select_layer: int = 16
    max_action_dim: int = 29
    use_alternate_vl_dit: bool = True
    attend_text_every_n_blocks: int = 2
    state_dropout_prob: float = 0.0
    state_additive_noise_scale: float = 0.0
    tune_llm: bool = False
    tune_visual: bool = False
    tune_top_llm_layers: int = 4
    tune_vlln: bool = True

    @classmethod
    def parse(cls, f: Fields, eagle: EagleConfig) -> "Gr00tN1d6Config":
        """Parse a checkpoint's config.json; a CheckpointError names the key."""
        dit = f.section("diffusion_model_cfg") if f.has("diffusion_model_cfg") else None
        config = cls(
            **cls.shared_fields(f),
            eagle=eagle,
            model_name=f.text("model_name", cls.model_name),
            select_layer=f.integer("select_layer", 16, at_least=1),
            max_action_dim=f.integer("max_action_dim", 29, at_least=1, at_most=MAX_SIZE),
            use_alternate_vl_dit=f.flag("use_alternate_vl_dit", True),
            attend_text_every_n_blocks=f.integer("attend_text_every_n_blocks", 2, at_least=1),
            dit=DiTConfig() if dit is None else DiTConfig.parse(dit),
            state_dropout_prob=f.number("state_dropout_prob", 0.0),
            state_additive_noise_scale=f.number("state_additive_noise_scale", 0.0),
            tune_llm=f.flag("tune_llm", False),
            tune_visual=f.flag("tune_visual", False),
            tune_top_llm_layers=f.integer("tune_top_llm_layers", 4),
            tune_vlln=f.flag("tune_vlln", True),
        )
        config.check(f)
        return config

    @classmethod
    def read(cls, path: Path, eagle: EagleConfig) -> "Gr00tN1d6Config":
        """Read config.json.

        Raises:
            CheckpointError: the file is of another model type, malformed, or does not fit `eagle`.

        """
        f = Fields.read(path)
        f.expect("model_type", MODEL_TYPE, None)
        config = cls.parse(f, eagle)
        if config.backbone_embedding_dim != eagle.text.hidden_size:
            raise f.error(
                "backbone_embedding_dim",
                f"is {config.backbone_embedding_dim}, the VLM's hidden_size is "
                f"{eagle.text.hidden_size}",
            )
        return config

    @property
    def head(self) -> "Gr00tN1d6Config":
        """Return the configuration of the action head, which config.json does not separate."""
        return self

    def with_embodiments(self, count: int) -> "Gr00tN1d6Config":
        """Return the configuration for this number of embodiments."""
        return replace(self, max_num_embodiments=count)

    def to_json(self) -> dict[str, Any]:
        """Return the contents of a config.json that `read` reads back with the same VLM config."""
        values = asdict(self)
        del values["eagle"]
        dit = values.pop("dit")
        return {
            "model_type": MODEL_TYPE,
            "architectures": [MODEL_TYPE],
            **values,
            "diffusion_model_cfg": {
                **dit,
                "norm_type": "ada_norm",
                "positional_embeddings": None,
                "interleave_self_attention": True,
            },
        }
