"""A checkpoint's own files but the weights, read and found to agree with one another."""

from dataclasses import dataclass
from pathlib import Path

from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.models.digest import checkpoint_digest
from groot_ros.models.gr00t_n1d6 import Gr00tN1d6Config
from groot_ros.models.gr00t_n1d6.config import MODEL_TYPE, EagleConfig
from groot_ros.processing import (
    BackboneAssets,
    Processor,
    ProcessorConfig,
    StateActionCodec,
    TextTokenizer,
    find_backbone_assets,
    find_checkpoint,
)
from groot_ros.processing.robot_columns import require_counterparts
from groot_ros.robot import RobotContract


@dataclass(frozen=True)
class CheckpointParts:
    """A checkpoint of which everything but the weights was read and found to fit."""

    directory: Path
    config: Gr00tN1d6Config
    processor: Processor
    assets: BackboneAssets

    def digest(self) -> str:
        """See `checkpoint_digest`; reads some of the weights."""
        return checkpoint_digest(self.directory, self.assets.files)


def open_checkpoint(
    checkpoint: str | Path,
    embodiment: str,
    *,
    backbone_assets: str | Path | None = None,
    robot: RobotContract | None = None,
) -> CheckpointParts:
    """Read a checkpoint's own files; arguments and exceptions as of `load_policy`."""
    directory = find_checkpoint(checkpoint)
    fields = Fields.read(directory / "config.json")
    fields.expect("model_type", MODEL_TYPE, None)
    model_name = fields.text("model_name", Gr00tN1d6Config.model_name)
    assets = find_backbone_assets(directory, backbone_assets, model_name)
    config = Gr00tN1d6Config.read(directory / "config.json", EagleConfig.read(assets.config))
    tokenizer = TextTokenizer.load(assets.tokenizer)
    require_same_tokens(tokenizer, config.eagle, assets.config)
    cell = config.eagle.vision.patch_size * config.eagle.shuffle
    processor = Processor.load(directory, embodiment, tokenizer, cell)
    require_same_sizes(embodiment, processor.config, processor.codec, config, directory)
    if robot is not None:
        require_counterparts(processor, robot)
    return CheckpointParts(directory, config, processor, assets)


def require_same_sizes(
    tag: str,
    processor: ProcessorConfig,
    codec: StateActionCodec,
    model: Gr00tN1d6Config,
    directory: Path,
) -> None:
    """The processor's files of a checkpoint must agree with the model's; else CheckpointError."""
    where = directory / "processor_config.json"
    for key in ("max_state_dim", "max_action_dim"):
        given, expected = getattr(processor, key), getattr(model, key)
        if given != expected:
            raise CheckpointError(f"{where}: '{key}' is {given}, config.json says {expected}")
    if codec.horizon > model.action_horizon:
        raise CheckpointError(
            f"{where}: the action's 'delta_indices' of '{tag}' are {codec.horizon}, "
            f"action_horizon in config.json is {model.action_horizon}"
        )
    row = processor.embodiment_id(tag)
    if row >= model.max_num_embodiments:
        raise CheckpointError(
            f"{processor.ids_from(tag)}: '{tag}' is {row}, max_num_embodiments in "
            f"config.json is {model.max_num_embodiments}"
        )


def require_same_tokens(tokenizer: TextTokenizer, eagle: EagleConfig, path: Path) -> None:
    """The tokenizer must be that of the VLM's config at `path`; else CheckpointError."""
    image = eagle.image_token_index
    if tokenizer.image_id != image:
        raise CheckpointError(
            f"{path}: 'image_token_index' is {image}, the tokenizer's is {tokenizer.image_id}"
        )
    if tokenizer.rows > eagle.text.vocab_size:
        raise CheckpointError(
            f"{path}: 'vocab_size' is {eagle.text.vocab_size}, the tokenizer has ids up to "
            f"{tokenizer.rows - 1}"
        )
