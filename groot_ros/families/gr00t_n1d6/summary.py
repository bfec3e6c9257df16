# SPDX-License-Identifier: Apache-2.0
"""Summary of a GR00T N1.6 checkpoint for `groot-ros inspect`, without reading its weights."""

from pathlib import Path

from groot_ros.checkpoint.digest import checkpoint_digest
from groot_ros.checkpoint.locate import find_backbone_assets
from groot_ros.checkpoint.safetensors_file import index_checkpoint
from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.families.family import CheckpointSummary, EmbodimentSummary
from groot_ros.families.gr00t.checkpoint import require_same_tokens
from groot_ros.families.gr00t_n1d6.checkpoint import policy_spec, require_same_sizes
from groot_ros.families.gr00t_n1d6.config import MODEL_TYPE, EagleConfig, Gr00tN1d6Config
from groot_ros.families.gr00t_n1d6.image_pipeline import ImagePipeline
from groot_ros.families.gr00t_n1d6.processor_config import ProcessorConfig
from groot_ros.families.gr00t_n1d6.weights import WEIGHTS, load_config
from groot_ros.processing.modality import Embodiment
from groot_ros.processing.state_action import StateActionCodec
from groot_ros.processing.statistics import Statistics
from groot_ros.processing.tokenizer import TextTokenizer


def describe(
    directory: Path, *, embodiment: str | None, assets: str | Path | None
) -> CheckpointSummary:
    """See `families.family.Family.describe`."""
    fields = Fields.read(directory / "config.json")
    fields.expect("model_type", MODEL_TYPE, None)
    config = Gr00tN1d6Config.parse(fields, EagleConfig())
    entries = list(index_checkpoint(directory).values())
    notes, problem = _assets(directory, config, assets)
    processor = ProcessorConfig.read(directory)
    if embodiment is not None:
        processor.require_tag(embodiment)
    tags = processor.tags if embodiment is None else (embodiment,)
    return CheckpointSummary(
        path=directory,
        model=MODEL_TYPE,
        architecture=_architecture(config),
        files=tuple(sorted({entry.path.name for entry in entries})),
        weights=WEIGHTS.groups(directory),
        notes=notes,
        problem=problem,
        embodiments=tuple(_embodiment(processor, config, tag) for tag in tags),
    )


def _assets(
    directory: Path, config: Gr00tN1d6Config, assets: str | Path | None
) -> tuple[tuple[str, ...], str]:
    """Return notes on the VLM's files, and a problem with them or "" if there is none."""
    try:
        found = find_backbone_assets(directory, assets, config.model_name)
    except CheckpointError as error:
        return (), f"still needed: {error}"
    note = f"the VLM's config is {found.config}, its tokenizer in {found.tokenizer}"
    try:
        whole = load_config(directory, found.config)
        WEIGHTS.fitting(directory, whole)
        require_same_tokens(TextTokenizer.load(found.tokenizer), whole.eagle, found.config)
    except CheckpointError as error:
        return (note,), f"cannot be loaded: {error}"
    digest = checkpoint_digest(directory, found.files)
    return (note, f"digest of all these files {digest}"), ""


def _architecture(config: Gr00tN1d6Config) -> str:
    kind = "alternating text and image" if config.use_alternate_vl_dit else "plain"

    def count(number: int, noun: str) -> str:
        return f"{number} {noun}" + ("" if number == 1 else "s")

    return (
        f"{count(config.select_layer, 'language layer')}; "
        f"{count(config.dit.num_layers, f'{kind} action layer')}, "
        f"{count(config.num_inference_timesteps, 'denoising step')} of "
        f"{count(config.action_horizon, 'action')}; "
        f"up to {config.max_state_dim} state and "
        f"{count(config.max_action_dim, 'action column')}, "
        f"{count(config.max_num_embodiments, 'embodiment')}"
    )


def _embodiment(processor: ProcessorConfig, model: Gr00tN1d6Config, tag: str) -> EmbodimentSummary:
    lines = [f"embodiment {tag}"]
    try:
        embodiment = processor.embodiment(tag)
        row = processor.embodiment_id(tag)
        lines = [f"embodiment {tag}, row {row} of the weights", _modalities(embodiment)]
        statistics = Statistics.read(Path(processor.path("statistics.json")), tag)
        codec = StateActionCodec(processor.codec(), embodiment, statistics)
        spec = policy_spec(model, processor, codec, statistics, tag)
        require_same_sizes(tag, processor, codec, model)
        ImagePipeline.of(processor)
    except CheckpointError as error:
        return EmbodimentSummary(tag, tuple(lines), problem=str(error))
    return EmbodimentSummary(tag, tuple(lines), spec.ranges, spec)


def _modalities(embodiment: Embodiment) -> str:
    language = embodiment.language
    instruction = "" if language is None else f"; instruction {', '.join(language.modality_keys)}"
    return (
        f"cameras {', '.join(embodiment.video.modality_keys)} "
        f"at {_steps(embodiment.video.delta_indices)}; "
        f"state at {_steps(embodiment.state.delta_indices)}; "
        f"actions at {_steps(embodiment.action.delta_indices)}{instruction}"
    )


def _steps(deltas: tuple[int, ...]) -> str:
    """Describe steps, for example "step 0", "steps -10, 0" or "16 steps, 0 to 15"."""
    if len(deltas) > 2 and deltas == tuple(range(deltas[0], deltas[-1] + 1)):
        return f"{len(deltas)} steps, {deltas[0]} to {deltas[-1]}"
    return f"step{'s' if len(deltas) > 1 else ''} {', '.join(map(str, deltas))}"
