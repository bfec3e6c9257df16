# SPDX-License-Identifier: Apache-2.0
"""Summary of a GR00T N1.5 checkpoint for `groot-ros inspect`, without reading its weights."""

from pathlib import Path

from groot_ros.checkpoint.safetensors_file import index_checkpoint
from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.family import CheckpointSummary, EmbodimentSummary
from groot_ros.families.gr00t.checkpoint import require_same_tokens
from groot_ros.families.gr00t_n1d5.checkpoint import (
    Files,
    find_files,
    find_tokenizer,
    open_checkpoint,
    spec_of,
)
from groot_ros.families.gr00t_n1d5.codec import StateActionCodec
from groot_ros.families.gr00t_n1d5.config import MODEL_TYPE, Gr00tN1d5Config
from groot_ros.families.gr00t_n1d5.metadata import Layout
from groot_ros.families.gr00t_n1d5.weights import WEIGHTS, with_decoders_of
from groot_ros.processing.tokenizer import TextTokenizer


def describe(
    directory: Path,
    *,
    embodiment: str | None,
    assets: str | Path | None,
    base: str | Path | None,
) -> CheckpointSummary:
    """See `families.family.Family.describe`."""
    files = find_files(directory, base, assets)
    config = with_decoders_of(files.read_config(), directory)
    notes, problem = _check(files, config, embodiment, assets, base)
    tags = files.tags if embodiment is None else (embodiment,)
    return CheckpointSummary(
        path=directory,
        model=MODEL_TYPE,
        architecture=_architecture(config),
        files=tuple(sorted({entry.path.name for entry in index_checkpoint(directory).values()})),
        weights=WEIGHTS.groups(directory),
        notes=notes,
        problem=problem,
        embodiments=tuple(_embodiment(files, config, tag) for tag in tags),
    )


def _check(
    files: Files,
    config: Gr00tN1d5Config,
    embodiment: str | None,
    assets: str | Path | None,
    base: str | Path | None,
) -> tuple[tuple[str, ...], str]:
    """Return notes on the files, and the reason why they cannot be loaded or ""."""
    notes = []
    if files.lerobot:
        notes.append(f"LeRobot's layout; the sizes are those of {files.config}")
    eagle = "the published one" if files.eagle is None else str(files.eagle)
    try:
        tokenizer = find_tokenizer(files, assets)
    except CheckpointError as error:
        return tuple(notes), f"still needed: {error}"
    notes.append(f"the VLM's config is {eagle}, its tokenizer in {tokenizer}")
    try:
        WEIGHTS.fitting(files.directory, config)
        where = files.eagle or files.config
        require_same_tokens(TextTokenizer.load(tokenizer), config.eagle, where)
        for tag in files.tags if embodiment is None else (embodiment,):
            opened = open_checkpoint(files.directory, tag, assets, base)
            notes.append(f"digest of all these files {opened.digest()}")
            break
    except CheckpointError as error:
        return tuple(notes), f"cannot be loaded: {error}"
    return tuple(notes), ""


def _architecture(config: Gr00tN1d5Config) -> str:
    head = config.head

    def count(number: int, noun: str) -> str:
        return f"{number} {noun}" + ("" if number == 1 else "s")

    decoders = "one decoder"
    if head.bimanual is not None:
        kind = "one arm decoder"
        if head.bimanual.split:
            kind = "shared arm decoder" if head.bimanual.shared else "two arm decoders"
            kind += " with cross-attention" if head.bimanual.cross else ""
        decoders = f"{kind} and claw decoder"
    return (
        f"{count(config.backbone.select_layer, 'language layer')}; "
        f"{count(head.dit.num_layers, 'action layer')}, {decoders}, "
        f"{count(head.num_inference_timesteps, 'denoising step')} of "
        f"{count(head.action_horizon, 'action')}; "
        f"up to {head.max_state_dim} state and {count(head.action_dim, 'action column')}, "
        f"{count(head.max_num_embodiments, 'embodiment')}"
    )


def _embodiment(files: Files, config: Gr00tN1d5Config, tag: str) -> EmbodimentSummary:
    lines = [f"embodiment {tag}"]
    try:
        layout = files.read_layout(tag)
        lines = [f"embodiment {tag}, row {layout.row} of the weights", _modalities(config, layout)]
        head = config.head
        codec = StateActionCodec(layout, head.action_horizon, head.max_state_dim, head.action_dim)
        spec = spec_of(config, layout, codec)
    except CheckpointError as error:
        return EmbodimentSummary(tag, tuple(lines), problem=str(error))
    return EmbodimentSummary(tag, tuple(lines), spec.ranges, spec)


def _modalities(config: Gr00tN1d5Config, layout: Layout) -> str:
    images = "LeRobot's images" if layout.lerobot else f"images cropped to {layout.crop:g}"
    return (
        f"cameras {', '.join(layout.views)} ({images}); "
        f"state {', '.join(g.name for g in layout.state)}; "
        f"actions {', '.join(g.name for g in layout.action)}, {config.head.action_horizon} steps"
    )
