# SPDX-License-Identifier: Apache-2.0
"""GR00T N1.5 checkpoint; everything except its weights has been read and checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from groot_ros.checkpoint.digest import checkpoint_digest
from groot_ros.checkpoint.locate import has_tokenizer, resolve, tokenizer_files
from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.core.program import ModelInputs, Range
from groot_ros.families.family import PolicySpec
from groot_ros.families.gr00t.checkpoint import (
    Gr00tCheckpoint,
    require_row,
    require_same_tokens,
    text_range,
)
from groot_ros.families.gr00t_n1d5.codec import StateActionCodec
from groot_ros.families.gr00t_n1d5.config import (
    LEROBOT_TYPE,
    MODEL_TYPE,
    EagleConfig,
    Gr00tN1d5Config,
)
from groot_ros.families.gr00t_n1d5.metadata import (
    Layout,
    lerobot_tags,
    metadata_tags,
    read_lerobot,
    read_metadata,
)
from groot_ros.families.gr00t_n1d5.processor import Processor
from groot_ros.processing.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from groot_ros.families.gr00t_n1d5.program import StagedModel

FAMILY = "gr00t_n1d5"
EAGLE_CONFIG = "eagle_config.json"
_TOKENIZER_FROM = (
    "take vocab.json, merges.txt and added_tokens.json from the folder "
    "gr00t/model/backbone/eagle2_hg_model of the Isaac-GR00T N1.5 sources and give their directory "
    "as backbone_assets"
)


@dataclass(frozen=True)
class Files:
    """Files of a checkpoint besides its weights.

    Attributes:
        directory: directory of the checkpoint.
        config: config.json with the sizes; in LeRobot's layout that of the base checkpoint.
        eagle: config of the VLM; None = the published sizes.
        lerobot: True for LeRobot's layout.

    """

    directory: Path
    config: Path
    eagle: Path | None
    lerobot: bool

    def read_config(self) -> Gr00tN1d5Config:
        """Read the configuration, without regard to the weights."""
        eagle = EagleConfig() if self.eagle is None else EagleConfig.read(self.eagle)
        return Gr00tN1d5Config.read(self.config, eagle)

    def read_layout(self, tag: str) -> Layout:
        """Read views, groups and statistics of one embodiment."""
        return (
            read_lerobot(self.directory, tag)
            if self.lerobot
            else (read_metadata(self.directory, tag))
        )

    @property
    def tags(self) -> tuple[str, ...]:
        """Return the embodiments of the checkpoint."""
        return lerobot_tags(self.directory) if self.lerobot else metadata_tags(self.directory)

    @property
    def digested(self) -> dict[str, Path]:
        """Return the files to digest in addition to those of the directory."""
        files = {} if self.eagle is None else {EAGLE_CONFIG: self.eagle}
        return files | ({"base_config.json": self.config} if self.lerobot else {})


def find_files(directory: Path, base: str | Path | None, assets: str | Path | None) -> Files:
    """Find the configuration of a checkpoint.

    Args:
        directory: directory of the checkpoint.
        base: base checkpoint, a directory or hub id; None = `base_model_path` of config.json.
        assets: directory or hub id that may hold eagle_config.json.

    Raises:
        CheckpointError: the base checkpoint or the assets do not exist.

    """
    f = Fields.read(directory / "config.json")
    lerobot = f.text("type", "") == LEROBOT_TYPE
    source = directory
    if lerobot:
        named = str(base) if base is not None else f.text("base_model_path", "")
        found = resolve(named) if named else None
        if found is None:
            raise CheckpointError(
                f"{f.where}: 'type' is {LEROBOT_TYPE}: LeRobot stores no sizes, and its base model "
                f"{named or '(none given)'} is not on this machine; give the directory of a GR00T "
                "N1.5 checkpoint in NVIDIA's layout as base_checkpoint"
            )
        source = found
        Fields.read(source / "config.json").expect("model_type", MODEL_TYPE, None)
    folders = [directory, source]
    if assets is not None:
        folders.append(_assets(assets))
    eagle = next((p / EAGLE_CONFIG for p in folders if (p / EAGLE_CONFIG).is_file()), None)
    return Files(directory, source / "config.json", eagle, lerobot)


def find_tokenizer(files: Files, assets: str | Path | None) -> Path:
    """Return the directory of the tokenizer.

    Raises:
        CheckpointError: there is none; the message says where to get it.

    """
    folders = [files.directory, files.config.parent]
    if assets is not None:
        folders.append(_assets(assets))
    for folder in folders:
        if has_tokenizer(folder):
            return folder
    searched = " and ".join(str(folder) for folder in dict.fromkeys(folders))
    raise CheckpointError(
        f"no tokenizer (vocab.json, merges.txt, added_tokens.json) in {searched}: a GR00T "
        f"checkpoint does not contain it; {_TOKENIZER_FROM}"
    )


def _assets(name: str | Path) -> Path:
    found = resolve(name)
    if found is None:
        raise CheckpointError(f"backbone_assets {name}: no such directory")
    return found


@dataclass(frozen=True)
class Gr00tN1d5Checkpoint(Gr00tCheckpoint):
    """See `families.gr00t.checkpoint.Gr00tCheckpoint`.

    Attributes:
        files: configuration files.
        tokenizer: directory of the tokenizer.

    """

    config: Gr00tN1d5Config
    processor: Processor
    files: Files
    tokenizer: Path

    @staticmethod
    def staged_model() -> "type[StagedModel]":
        """See `families.gr00t.checkpoint.Gr00tCheckpoint.staged_model`."""
        from groot_ros.families.gr00t_n1d5.program import StagedModel

        return StagedModel

    @cached_property
    def spec(self) -> PolicySpec:
        """Return the inputs and outputs."""
        return spec_of(self.config, self.processor.layout, self.processor.codec)

    def digest(self) -> str:
        """Return a digest of the files; see `groot_ros.checkpoint.digest`."""
        tokenizer = {path.name: path for path in tokenizer_files(self.tokenizer)}
        files = {**self.files.digested, **self.processor.layout.files, **tokenizer}
        return checkpoint_digest(self.path, files)

    def profile(
        self, image_sizes: Sequence[tuple[int, int]], instruction_tokens: int
    ) -> dict[str, Range]:
        """See `families.family.Checkpoint.profile`; every camera gives one tile of one size."""
        views = len(self.sizes_by_view(image_sizes))
        return {
            "views": Range(views, views, views),
            "tokens": text_range(len(self.processor.tokens("")), instruction_tokens),
        }

    def sizes(self, inputs: ModelInputs) -> dict[str, list[int]]:
        """See `families.family.Checkpoint.sizes`."""
        tokens = int(inputs["attention_mask"].sum())
        return {"views": [len(inputs["tiles"])], "tokens": [tokens]}


def open_checkpoint(
    directory: Path,
    embodiment: str,
    assets: str | Path | None = None,
    base: str | Path | None = None,
) -> Gr00tN1d5Checkpoint:
    """Read the files of a checkpoint except the weights, and check that they agree.

    The names and shapes of the weights are read, as they determine the decoders.

    Args:
        directory: directory of the checkpoint.
        embodiment: tag.
        assets: directory or hub id of the tokenizer and, if it has other sizes, the VLM's config.
        base: base checkpoint of LeRobot's layout.

    Raises:
        CheckpointError: a file is missing, malformed or does not fit the others; one line that
            names file and key.

    """
    from groot_ros.families.gr00t_n1d5.weights import with_decoders_of

    files = find_files(directory, base, assets)
    config = with_decoders_of(files.read_config(), directory)
    folder = find_tokenizer(files, assets)
    tokenizer = TextTokenizer.load(folder)
    require_same_tokens(tokenizer, config.eagle, files.eagle or files.config)
    layout = files.read_layout(embodiment)
    processor = make_processor(config, layout, tokenizer)
    return Gr00tN1d5Checkpoint(directory, config, processor, files, folder)


def make_processor(config: Gr00tN1d5Config, layout: Layout, tokenizer: TextTokenizer) -> Processor:
    """Return the processor of one embodiment; CheckpointError if its row has no weights."""
    head, eagle = config.head, config.eagle
    require_row(layout.row, head.max_num_embodiments, layout.tag, layout.where)
    return Processor(
        layout,
        tokenizer,
        tile_size=eagle.vision.image_size,
        tile_tokens=eagle.tile_tokens,
        max_state_dim=head.max_state_dim,
        chunk_shape=(head.action_horizon, head.action_dim),
    )


def spec_of(config: Gr00tN1d5Config, layout: Layout, codec: StateActionCodec) -> PolicySpec:
    """Return the inputs and outputs of a checkpoint for one embodiment."""
    return PolicySpec(
        family=FAMILY,
        embodiment=layout.tag,
        views=layout.views,
        image_history=(0,),
        state_history=(0,),
        state_groups=codec.state_widths,
        action_groups=codec.action_widths,
        action_space=dict.fromkeys(codec.action_widths, "joint"),
        horizon=codec.horizon,
        sampling_steps=config.head.num_inference_timesteps,
        supports_prefix=True,
        sources={
            "views": layout.where,
            "action_groups": layout.where,
            "horizon": "config.json: 'action_horizon'",
        },
        ranges=tuple(codec.ranges()),
    )
