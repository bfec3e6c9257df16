"""`groot-ros inspect`: what a checkpoint is, and whether it fits a robot, without its weights."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from groot_ros.cli.text import pluralise
from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.evaluation.table import format_table

if TYPE_CHECKING:
    from groot_ros.models.gr00t_n1d6 import Gr00tN1d6Config
    from groot_ros.processing import Embodiment, ProcessorConfig, StateActionCodec, Statistics
    from groot_ros.robot import RobotContract

_EXAMPLES = """examples:
  groot-ros inspect --checkpoint ~/checkpoints/pick
  groot-ros inspect --checkpoint nvidia/GR00T-N1.6-3B --embodiment gr1 --columns
  groot-ros inspect --checkpoint ~/checkpoints/pick --robot ~/my_arm.yaml

Exit status 0 where, weights aside, `groot-ros infer` would load the same; 1 where files of the VLM
are still needed, the files do not fit each other, or the robot lacks a camera, a group or a joint
that the checkpoint needs. Ranges beyond a joint's limits are marked "!" and change no status.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "inspect",
        help="what a checkpoint is, and whether it fits a robot",
        description="What a checkpoint is, and whether it fits a robot. Its weights stay unread.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--checkpoint", required=True, help="directory, or a hub id that was downloaded before")
    add("--embodiment", metavar="TAG", help="this one only (default: all)")
    add("--robot", help="robot contract, a name or a file: what has no counterpart in it?")
    add("--backbone-assets", metavar="DIR", help="the VLM's config and tokenizer, or a hub id")
    add("--columns", action="store_true", help="ranges of every column, not of whole groups")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 where an embodiment can be used (with the robot), 1 where none can."""
    from groot_ros.core.share import robot_path
    from groot_ros.processing import ProcessorConfig, find_checkpoint
    from groot_ros.robot import load_contract

    robot = None if args.robot is None else load_contract(robot_path(args.robot))
    directory = find_checkpoint(args.checkpoint)
    model, loads = _show_model(directory, args.backbone_assets)
    config = ProcessorConfig.read(directory)
    if args.embodiment is not None:
        config.embodiment(args.embodiment)
    tags = config.embodiments if args.embodiment is None else [args.embodiment]
    usable = [_show_embodiment(directory, config, model, tag, robot, args.columns) for tag in tags]
    return 0 if loads and any(usable) else 1


def _show_model(directory: Path, backbone_assets: str | None) -> "tuple[Gr00tN1d6Config, bool]":
    """Its config, and False where its files contradict each other; prints all it is."""
    from groot_ros.models.gr00t_n1d6 import EagleConfig, Gr00tN1d6Config
    from groot_ros.families.gr00t_n1d6.config import MODEL_TYPE
    from groot_ros.families.gr00t_n1d6.parts import parts_of
    from groot_ros.checkpoint.safetensors_file import index_checkpoint

    fields = Fields.read(directory / "config.json")
    fields.expect("model_type", MODEL_TYPE, None)
    config = Gr00tN1d6Config.parse(fields, EagleConfig())
    entries = index_checkpoint(directory).values()
    parts = parts_of(entries)
    count, size = sum(p.parameters for p in parts), sum(p.nbytes for p in parts)
    files = ", ".join(sorted({entry.path.name for entry in entries}))
    print(f"{directory}: {MODEL_TYPE}, {count:,} parameters, {size / 1e6:,.1f} MB in {files}")
    print(_head(config))
    rows = [
        [part.name, f"{part.parameters:,}", f"{part.nbytes / 1e6:,.1f}", ", ".join(part.dtypes)]
        for part in parts
    ]
    print(f"\n{format_table(['part', 'parameters', 'MB', 'dtype'], rows)}\n")
    return config, _show_backbone_assets(directory, config, backbone_assets)


def _show_backbone_assets(
    directory: Path, config: "Gr00tN1d6Config", backbone_assets: str | None
) -> bool:
    """What is still to be got, or else whether all files fit each other."""
    from groot_ros.checkpoint.digest import checkpoint_digest
    from groot_ros.families.gr00t_n1d6.weights import fitting_tensors, load_config
    from groot_ros.processing import TextTokenizer, find_backbone_assets
    from groot_ros.runtime.checkpoint_parts import require_same_tokens

    try:
        assets = find_backbone_assets(directory, backbone_assets, config.model_name)
    except CheckpointError as error:
        print(f"still needed: {error}")
        return False
    print(f"the VLM's config is {assets.config}, its tokenizer in {assets.tokenizer}")
    try:
        whole = load_config(directory, assets.config)
        fitting_tensors(directory, whole)
        require_same_tokens(TextTokenizer.load(assets.tokenizer), whole.eagle, assets.config)
    except CheckpointError as error:
        print(f"cannot be loaded: {error}")
        return False
    print(f"digest of all these files {checkpoint_digest(directory, assets.files)}")
    return True


def _head(config: "Gr00tN1d6Config") -> str:
    kind = "alternating text and image" if config.use_alternate_vl_dit else "plain"
    return (
        f"{pluralise(config.select_layer, 'language layer')}; "
        f"{pluralise(config.dit.num_layers, f'{kind} action layer')}, "
        f"{pluralise(config.num_inference_timesteps, 'denoising step')} of "
        f"{pluralise(config.action_horizon, 'action')}; "
        f"up to {config.max_state_dim} state and "
        f"{pluralise(config.max_action_dim, 'action column')}, "
        f"{pluralise(config.max_num_embodiments, 'embodiment')}"
    )


def _show_embodiment(
    directory: Path,
    config: "ProcessorConfig",
    model: "Gr00tN1d6Config",
    tag: str,
    robot: "RobotContract | None",
    columns: bool,
) -> bool:
    """One embodiment; whether it can be used, with the robot where there is one."""
    from groot_ros.processing import StateActionCodec, Statistics
    from groot_ros.runtime.checkpoint_parts import require_same_sizes

    embodiment = config.embodiment(tag)
    try:
        print(f"\nembodiment {tag}, row {config.embodiment_id(tag)} of the weights")
        print(_modalities(embodiment))
        statistics = Statistics.read(directory / "statistics.json", tag)
        codec = StateActionCodec(config, embodiment, statistics)
        config.action_spacing(tag)
        require_same_sizes(tag, config, codec, model, directory)
    except CheckpointError as error:
        print(f"cannot be used: {error}")
        return False
    header = ["group", "columns", "is", "normalised", "from", "to"]
    print(format_table(header, list(_ranges(codec, statistics, columns))))
    return robot is None or _show_fit(embodiment, codec, statistics, robot)


def _modalities(embodiment: "Embodiment") -> str:
    language = embodiment.language
    spoken = "" if language is None else f"; instruction {', '.join(language.modality_keys)}"
    return (
        f"cameras {', '.join(embodiment.video.modality_keys)} "
        f"at {_steps(embodiment.video.delta_indices)}; "
        f"state at {_steps(embodiment.state.delta_indices)}; "
        f"actions at {_steps(embodiment.action.delta_indices)}{spoken}"
    )


def _steps(deltas: tuple[int, ...]) -> str:
    """As "step 0", "steps -10, 0" or "16 steps, 0 to 15"."""
    if len(deltas) > 2 and deltas == tuple(range(deltas[0], deltas[-1] + 1)):
        return f"{len(deltas)} steps, {deltas[0]} to {deltas[-1]}"
    return f"step{'s' if len(deltas) > 1 else ''} {', '.join(map(str, deltas))}"


def _ranges(
    codec: "StateActionCodec", statistics: "Statistics", columns: bool
) -> Iterator[list[str]]:
    """Rows of the table: smallest and largest value of the training data."""
    for modality, widths in (("state", codec.state_widths), ("action", codec.action_widths)):
        for group, width in widths.items():
            source = codec.reference(group) if modality == "action" else None
            kind = modality if source is None else f"action - {source}"
            how = codec.normalisation(modality, group)
            low, high = codec.trained_range(modality, group, statistics)
            spans = [(f"{group}[{i}]", 1, low[i], high[i]) for i in range(width)]
            for name, count, a, b in spans if columns else [(group, width, low.min(), high.max())]:
                yield [name, str(count), kind, how, f"{a:.4g}", f"{b:.4g}"]


def _show_fit(
    embodiment: "Embodiment",
    codec: "StateActionCodec",
    statistics: "Statistics",
    robot: "RobotContract",
) -> bool:
    """What has no counterpart, and the ranges of the training data beside the joints' limits."""
    from groot_ros.policy.robot_columns import missing_counterparts, unused_parts

    views = embodiment.video.modality_keys
    problems = missing_counterparts(views, codec, robot)
    print(f"does not fit robot {robot.robot}:" if problems else f"fits robot {robot.robot}")
    for line in [*problems, *(f"unused: {part}" for part in unused_parts(views, codec, robot))]:
        print(f"  {line}")
    rows = list(_joints(codec, statistics, robot))
    if rows:
        header = ["joint", "unit", "of", "trained from", "to", "limits from", "to", "beyond  "]
        print(format_table(header, rows))
    return not problems


def _joints(
    codec: "StateActionCodec", statistics: "Statistics", robot: "RobotContract"
) -> Iterator[list[str]]:
    """The training data in rad and m beside the limits, joint by joint: states and actions.

    Another range than the joint's is a wrong unit. Relative actions are offsets: the limits are
    the joint's whole range either way.
    """
    for name, group in robot.groups.items():
        states = list(_state_rows(name, codec, statistics, robot))
        actions = list(_action_rows(name, codec, statistics, robot))
        for column in range(len(group.joints)):
            yield from (rows[column] for rows in (states, actions) if rows)


def _state_rows(
    name: str, codec: "StateActionCodec", statistics: "Statistics", robot: "RobotContract"
) -> Iterator[list[str]]:
    group = robot.groups[name]
    if codec.state_widths.get(name) != len(group.joints):
        return
    ends = [robot.to_si(name, statistics.get("state", name, end)) for end in ("min", "max")]
    for joint, a, b in zip(group.joints, *ends, strict=True):
        limits = robot.joints[joint].limits
        yield _beside(joint, robot.joints[joint].unit, "state", (a, b), limits.lower, limits.upper)


def _action_rows(
    name: str, codec: "StateActionCodec", statistics: "Statistics", robot: "RobotContract"
) -> Iterator[list[str]]:
    group = robot.groups[name]
    if codec.action_widths.get(name) != len(group.joints) or codec.is_pose(name):
        return
    relative = codec.reference(name) is not None
    low, high = codec.trained_range("action", name, statistics)
    zero = robot.to_si(name, np.zeros_like(low)) if relative else np.zeros_like(low)
    ends = [robot.to_si(name, end) - zero for end in (low, high)]
    for joint, a, b in zip(group.joints, *ends, strict=True):
        limits = robot.joints[joint].limits
        lower, upper = limits.lower, limits.upper
        if relative:
            lower, upper = lower - upper, upper - lower
        of = "offset" if relative else "action"
        yield _beside(joint, robot.joints[joint].unit, of, (a, b), lower, upper)


def _beside(
    joint: str, unit: str, of: str, ends: "tuple[np.floating, ...]", lower: float, upper: float
) -> list[str]:
    """One row; marked where the range leaves the limits by what the table can show."""
    low, high = sorted(map(float, ends))
    beyond = f"{max(0.0, lower - low, high - upper):.3f}"
    values = (f"{value:.3f}" for value in (low, high, lower, upper))
    return [joint, unit, of, *values, f"{beyond} !" if float(beyond) > 0 else f"{beyond}  "]
