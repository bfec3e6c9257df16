# SPDX-License-Identifier: Apache-2.0
"""Configuration of a GR00T N1.5 checkpoint: its config.json and the config of its VLM."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from groot_ros.core.config_reader import REQUIRED, Fields
from groot_ros.layers.action_head import MAX_SIZE, FlowHeadConfig
from groot_ros.layers.dit import DiTConfig
from groot_ros.layers.qwen3 import TextConfig
from groot_ros.layers.self_attention import parse_self_attention
from groot_ros.layers.siglip import SiglipConfig

MODEL_TYPE = "gr00t_n1_5"
#: `type` of config.json in LeRobot's layout.
LEROBOT_TYPE = "groot"
#: Lowest accepted index of a hidden state.
_LOWEST_LAYER = -1000


@dataclass(frozen=True)
class EagleConfig:
    """Configuration of the Eagle-2 VLM; the defaults are those of the published checkpoint.

    Attributes:
        vision_layer: hidden state of the vision tower that is used; -1 = the last, normalised.
        connector_layers: number of linear layers of the connector, 1 or 2.
        use_pixel_shuffle: join squares of patches into one token.

    """

    vision: SiglipConfig = field(default_factory=SiglipConfig)
    text: TextConfig = field(default_factory=TextConfig)
    image_token_index: int = 151669
    vision_layer: int = -1
    connector_layers: int = 1
    use_pixel_shuffle: bool = False
    downsample_ratio: float = 0.5

    @property
    def shuffle(self) -> int:
        """Return the side of the square of patches that becomes one token."""
        return int(1 / self.downsample_ratio) if self.use_pixel_shuffle else 1

    @property
    def tile_tokens(self) -> int:
        """Return the number of image tokens of one tile."""
        return (self.vision.side // self.shuffle) ** 2

    @classmethod
    def parse(cls, f: Fields) -> "EagleConfig":
        """Parse the VLM's config.json (or eagle_config.json)."""
        f.expect("model_type", "eagle_2_5_vl", "eagle_2_5_vl")
        f.expect("use_backbone_lora", 0, 0)
        f.expect("use_llm_lora", 0, 0)
        vision = SiglipConfig.parse(f.section("vision_config"))
        config = cls(
            vision=vision,
            text=TextConfig.parse(f.section("text_config")),
            image_token_index=f.integer("image_token_index"),
            vision_layer=f.integer("select_layer", -4, at_least=_LOWEST_LAYER),
            connector_layers=f.integer("mlp_connector_layers", 2, at_least=1, at_most=2),
            use_pixel_shuffle=f.flag("use_pixel_shuffle", True),
            downsample_ratio=f.number("downsample_ratio", 0.5, above=0.001, at_most=1.0),
        )
        layers = vision.num_hidden_layers
        if not -layers - 1 <= config.vision_layer <= layers:
            raise f.error(
                "select_layer",
                f"is {config.vision_layer}, but the vision tower has {layers} layers",
            )
        if vision.side % config.shuffle:
            raise f.error(
                "downsample_ratio",
                f"is {config.downsample_ratio:g}: {vision.side} patches do not divide into squares",
            )
        if config.connector_layers == 2 and not config.use_pixel_shuffle:
            raise f.error("mlp_connector_layers", "is 2, which needs use_pixel_shuffle")
        return config

    @classmethod
    def read(cls, path: Path) -> "EagleConfig":
        """Read the VLM's config file; CheckpointError names file and key."""
        return cls.parse(Fields.read(path))

    def to_json(self) -> dict[str, Any]:
        """Return the contents of a file that `read` reads back."""
        return {
            "model_type": "eagle_2_5_vl",
            "image_token_index": self.image_token_index,
            "select_layer": self.vision_layer,
            "mlp_connector_layers": self.connector_layers,
            "use_pixel_shuffle": self.use_pixel_shuffle,
            "downsample_ratio": self.downsample_ratio,
            "vision_config": {"model_type": "siglip_vision_model", **asdict(self.vision)},
            "text_config": {"model_type": "qwen3", **asdict(self.text)},
        }


@dataclass(frozen=True)
class BackboneConfig:
    """Contents of `backbone_cfg`.

    Attributes:
        select_layer: number of layers of the language model that are kept.
        project_to_dim: width of the features after `eagle_linear`; None = no projection.

    """

    select_layer: int = 12
    project_to_dim: int | None = None
    tune_llm: bool = False
    tune_visual: bool = True

    @classmethod
    def parse(cls, f: Fields) -> "BackboneConfig":
        """Parse the section; `project_to_dim` is 1536 if omitted, and null means none."""
        project = 1536 if "project_to_dim" not in f.value else None
        if f.has("project_to_dim"):
            project = f.integer("project_to_dim", at_least=1)
        return cls(
            select_layer=f.integer("select_layer", at_least=1),
            project_to_dim=project,
            tune_llm=f.flag("tune_llm", False),
            tune_visual=f.flag("tune_visual", False),
        )


@dataclass(frozen=True)
class BimanualConfig:
    """Configuration of the bimanual decoders, part of `action_head_cfg`.

    Attributes:
        split: one decoder per arm instead of one for both (`split_arm_heads`).
        shared: the arms' decoders share their first layer (`use_shared_arm_features`).
        cross: each arm attends to the other (`use_cross_attention_arms`).
        left, right, claw: columns of each part.
        left_weight, right_weight, arm_weight, claw_weight: weights of the parts' losses, unless
            they are learned.
        coordination_weight: weight of the difference between the arms' speeds in the loss.
        learned_weights: weigh the losses by a learned sigma per part.

    """

    split: bool = True
    shared: bool = True
    cross: bool = True
    left: int = 7
    right: int = 7
    claw: int = 2
    left_weight: float = 1.0
    right_weight: float = 1.0
    arm_weight: float = 1.0
    claw_weight: float = 1.0
    coordination_weight: float = 0.2
    learned_weights: bool = True

    @property
    def parts(self) -> dict[str, int]:
        """Return the columns of each part of the action, in order."""
        if self.split:
            return {"left_arm": self.left, "right_arm": self.right, "claw": self.claw}
        return {"arm": self.left + self.right, "claw": self.claw}

    @property
    def weights(self) -> dict[str, float]:
        """Return the weight of each part's loss."""
        found = {
            "left_arm": self.left_weight,
            "right_arm": self.right_weight,
            "arm": self.arm_weight,
            "claw": self.claw_weight,
        }
        return {part: found[part] for part in self.parts}

    @classmethod
    def parse(cls, f: Fields) -> "BimanualConfig":
        """Parse the keys of a head's configuration; `action_arm_dim` counts without split arms."""
        left = f.integer("action_left_arm_dim", 7, at_least=1)
        right = f.integer("action_right_arm_dim", 7, at_least=1)
        split = f.flag("split_arm_heads", True)
        both = f.integer("action_arm_dim", left + right, at_least=2)
        if not split and both != left + right:
            left, right = both - both // 2, both // 2
        return cls(
            split=split,
            shared=f.flag("use_shared_arm_features", True),
            cross=f.flag("use_cross_attention_arms", True),
            left=left,
            right=right,
            claw=f.integer("action_claw_dim", 2, at_least=1),
            left_weight=f.number("left_arm_loss_weight", 1.0),
            right_weight=f.number("right_arm_loss_weight", 1.0),
            arm_weight=f.number("arm_loss_weight", 1.0),
            claw_weight=f.number("claw_loss_weight", 1.0),
            coordination_weight=f.number("arm_coordination_loss_weight", 0.2),
            learned_weights=f.flag("use_learnable_loss_weights", True),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the keys that `parse` reads back."""
        return {
            "use_multi_action_heads": True,
            "split_arm_heads": self.split,
            "use_shared_arm_features": self.shared,
            "use_cross_attention_arms": self.cross,
            "action_arm_dim": self.left + self.right,
            "action_left_arm_dim": self.left,
            "action_right_arm_dim": self.right,
            "action_claw_dim": self.claw,
            "left_arm_loss_weight": self.left_weight,
            "right_arm_loss_weight": self.right_weight,
            "arm_loss_weight": self.arm_weight,
            "claw_loss_weight": self.claw_weight,
            "arm_coordination_loss_weight": self.coordination_weight,
            "use_learnable_loss_weights": self.learned_weights,
        }


@dataclass(frozen=True)
class HeadConfig(FlowHeadConfig):
    """Contents of `action_head_cfg`; an omitted key has the reference's default.

    Attributes:
        action_dim: columns of an action.
        encoder_dim: columns that the action encoder takes (`pretrained_action_dim`); those beyond
            `action_dim` are zero at inference.
        future_tokens: number of learned tokens between state and actions.
        bimanual: configuration of the bimanual decoders; None = one decoder.

    """

    max_state_dim: int = 64
    dit: DiTConfig = field(default_factory=lambda: DiTConfig(num_layers=16))
    action_dim: int = 32
    encoder_dim: int = 32
    future_tokens: int = 32
    vl_self_attention: DiTConfig = field(
        default_factory=lambda: DiTConfig(num_layers=4, attention_head_dim=64)
    )
    bimanual: BimanualConfig | None = None

    @classmethod
    def parse(cls, f: Fields) -> "HeadConfig":
        """Parse the section; a CheckpointError names the key."""
        bimanual = BimanualConfig.parse(f) if f.flag("use_multi_action_heads", False) else None
        action_dim = f.integer("action_dim", at_least=1, at_most=MAX_SIZE)
        attention = (
            parse_self_attention(f.section("vl_self_attention_cfg"))
            if f.has("vl_self_attention_cfg")
            else DiTConfig(num_layers=0)
        )
        config = cls(
            **cls.shared_fields(f, backbone_embedding_dim=1536, action_horizon=REQUIRED),
            action_dim=action_dim,
            encoder_dim=f.integer(
                "pretrained_action_dim", action_dim, at_least=1, at_most=MAX_SIZE
            ),
            future_tokens=f.integer("num_target_vision_tokens", 32, at_least=0, at_most=MAX_SIZE),
            dit=DiTConfig.parse(f.section("diffusion_model_cfg")),
            vl_self_attention=attention,
            bimanual=bimanual,
        )
        config.check(f)
        return config

    def check(self, f: Fields) -> None:
        """See `FlowHeadConfig.check`."""
        super().check(f)
        own = self.vl_self_attention
        if self.use_vlln and own.num_layers and self.backbone_embedding_dim != own.inner_dim:
            raise f.error(
                "backbone_embedding_dim",
                f"is {self.backbone_embedding_dim} but num_attention_heads x attention_head_dim of "
                f"vl_self_attention_cfg is {own.inner_dim}",
            )
        if self.encoder_dim < self.action_dim:
            raise f.error(
                "pretrained_action_dim",
                f"is {self.encoder_dim}, but action_dim is {self.action_dim}",
            )
        if self.bimanual is not None and sum(self.bimanual.parts.values()) != self.action_dim:
            raise f.error(
                "action_dim",
                f"is {self.action_dim}, but the arms and claws have "
                f"{sum(self.bimanual.parts.values())} columns",
            )

    def to_json(self) -> dict[str, Any]:
        """Return the section that `parse` reads back."""
        values = asdict(self)
        dit, attention = values.pop("dit"), values.pop("vl_self_attention")
        del values["bimanual"]
        plain = {"positional_embeddings": None}
        return {
            **{k: v for k, v in values.items() if k not in ("future_tokens", "encoder_dim")},
            "num_target_vision_tokens": self.future_tokens,
            "pretrained_action_dim": self.encoder_dim,
            "diffusion_model_cfg": {
                **dit,
                **plain,
                "cross_attention_dim": self.backbone_embedding_dim,
                "norm_type": "ada_norm",
                "interleave_self_attention": True,
            },
            "vl_self_attention_cfg": {**attention, **plain},
            **({} if self.bimanual is None else self.bimanual.to_json()),
        }


@dataclass(frozen=True)
class Gr00tN1d5Config:
    """Configuration of a whole network."""

    eagle: EagleConfig = field(default_factory=EagleConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    head: HeadConfig = field(default_factory=HeadConfig)

    @classmethod
    def read(cls, path: Path, eagle: EagleConfig) -> "Gr00tN1d5Config":
        """Read config.json in NVIDIA's layout.

        Raises:
            CheckpointError: the file is of another model type, malformed, or does not fit `eagle`.

        """
        f = Fields.read(path)
        f.expect("model_type", MODEL_TYPE, None)
        backbone = BackboneConfig.parse(f.section("backbone_cfg"))
        config = cls(eagle, backbone, HeadConfig.parse(f.section("action_head_cfg")))
        layers = eagle.text.num_hidden_layers
        if backbone.select_layer > layers:
            raise f.error(
                "backbone_cfg.select_layer",
                f"is {backbone.select_layer}, but the VLM has {layers} layers",
            )
        if config.head.backbone_embedding_dim != config.feature_width:
            raise f.error(
                "action_head_cfg.backbone_embedding_dim",
                f"is {config.head.backbone_embedding_dim}, but the backbone's features have "
                f"{config.feature_width} columns",
            )
        return config

    def with_embodiments(self, count: int) -> "Gr00tN1d5Config":
        """Return the configuration for this number of embodiments."""
        return replace(self, head=replace(self.head, max_num_embodiments=count))

    @property
    def feature_width(self) -> int:
        """Return the width of the backbone's features."""
        return self.backbone.project_to_dim or self.eagle.text.hidden_size

    def to_json(self) -> dict[str, Any]:
        """Return the contents of a config.json that `read` reads back with the same VLM config."""
        return {
            "model_type": MODEL_TYPE,
            "architectures": ["GR00T_N1_5"],
            "action_dim": self.head.action_dim,
            "action_horizon": self.head.action_horizon,
            "hidden_size": self.feature_width,
            "backbone_cfg": asdict(self.backbone),
            "action_head_cfg": self.head.to_json(),
        }


def fit_to_tensors(
    config: HeadConfig, shapes: Mapping[str, tuple[int, ...]], prefix: str
) -> HeadConfig:
    """Return the configuration with the decoders that a checkpoint's tensors have.

    The loader of the bimanual fork replaces the decoder of a base model whose config.json does not
    mention it; the tensors determine which one.

    Args:
        config: configuration from config.json.
        shapes: name -> shape of the checkpoint's tensors.
        prefix: prefix of the head's names.

    """

    def has(name: str) -> bool:
        return any(other.startswith(f"{prefix}{name}.") for other in shapes)

    def columns(name: str) -> int:
        return shapes[f"{prefix}{name}"][-1]

    if not has("action_claw_decoder"):
        return config
    found = config.bimanual or BimanualConfig()
    shared = has("shared_arm_decoder")
    found = replace(
        found,
        split=not has("action_arm_decoder"),
        shared=shared,
        cross=has("shared_arm_decoder.cross_attn_left"),
        learned_weights=has("task_log_sigma"),
        claw=columns("action_claw_decoder.layer2.W"),
    )
    if found.split:
        left, right = (
            columns(
                f"shared_arm_decoder.{side}_output_layer.W"
                if shared
                else f"action_{side}_arm_decoder.layer2.W"
            )
            for side in ("left", "right")
        )
        found = replace(found, left=left, right=right)
    else:
        both = columns("action_arm_decoder.layer2.W")
        if found.left + found.right != both:
            found = replace(found, left=both - both // 2, right=both // 2)
    encoder = shapes[f"{prefix}action_encoder.W1.W"][1]
    return replace(
        config, bimanual=found, action_dim=sum(found.parts.values()), encoder_dim=encoder
    )
