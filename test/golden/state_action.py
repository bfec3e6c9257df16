# SPDX-License-Identifier: Apache-2.0
"""Golden sets of one embodiment: normalised states and actions, and decoded actions."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from golden.arrays import Arrays, BrokenSetError, GoldenSet
from golden.comparison import TOLERANCE, Comparison, compare, same
from groot_ros.families.gr00t_n1d6.processor_config import ProcessorConfig
from groot_ros.processing.state_action import StateActionCodec
from groot_ros.processing.statistics import Statistics

FILES = ("processor_config.json", "statistics.json", "state_action.npz")


def belongs(folder: Path) -> bool:
    """Return True: no other model has sets with these files."""
    return True


def action_tolerance(codec: StateActionCodec, statistics: Statistics, group: str) -> float:
    """Return the tolerance of decoded actions: scaled by half the range of the statistics."""
    modality = "action" if codec.reference(group) is None else "relative_action"
    low, high = (statistics.get(modality, group, k) for k in ("min", "max"))
    return TOLERANCE * max(1.0, float((high - low).max()) / 2.0)


def comparisons(source: GoldenSet) -> Iterator[Comparison]:
    arrays = source.arrays("state_action.npz")
    config = ProcessorConfig.read(source.folder)
    tag = _embodiment_of(arrays, config)
    statistics = Statistics.read(source.folder / "statistics.json", tag)
    codec = StateActionCodec(config.codec(), config.embodiment(tag), statistics)
    states = []
    for b in sorted({name.split(".")[0] for name in arrays if name[0].isdigit()}, key=int):
        state = {g: arrays[f"{b}.raw_state.{g}"] for g in codec.state_widths}
        action = {g: arrays[f"{b}.raw_action.{g}"] for g in codec.action_widths}
        states.append(state)
        encoded = codec.encode_state(state)
        yield from _by_group(f"{b}.norm_state", encoded, arrays, codec.state_widths)
        values, mask = codec.encode_action(action, state)
        steps = values[: len(next(iter(action.values())))]
        yield from _by_group(f"{b}.norm_action", steps, arrays, codec.action_widths)
        yield compare(f"{b}.state", encoded, arrays[f"{b}.state"], TOLERANCE)
        yield compare(f"{b}.action", values, arrays[f"{b}.action"], TOLERANCE)
        yield same(f"{b}.action_mask", mask, arrays[f"{b}.action_mask"])
        yield same(f"{b}.embodiment_id", config.embodiment_id(tag), arrays[f"{b}.embodiment_id"])
    batch = arrays["decode.model_action_used_cols"]
    stacked = {g: np.stack([s[g] for s in states[: len(batch)]]) for g in codec.state_widths}
    for prefix, actions, state in (
        ("decode", batch, stacked),
        ("decode_unbatched", batch[0], states[0]),
    ):
        for group, values in codec.decode_action(actions, state).items():
            name, tolerance = f"{prefix}.action.{group}", action_tolerance(codec, statistics, group)
            yield compare(name, values, arrays[name], tolerance)


def _embodiment_of(arrays: Arrays, config: ProcessorConfig) -> str:
    """Return the tag whose groups, and number where it is stored, are those of the arrays."""
    number = "0.embodiment_id"
    for tag, embodiment in config.embodiments.items():
        names = [f"0.raw_state.{g}" for g in embodiment.state.modality_keys]
        names += [f"0.raw_action.{g}" for g in embodiment.action.modality_keys]
        if all(name in arrays for name in names) and (
            number not in arrays or config.embodiment_ids.get(tag) == int(arrays[number])
        ):
            return tag
    raise BrokenSetError(
        "no embodiment of processor_config.json has the groups of state_action.npz"
    )


def _by_group(prefix: str, columns, arrays, groups) -> Iterator[Comparison]:
    start = 0
    for group in groups:
        golden = arrays[f"{prefix}.{group}"]
        if golden.ndim != 2:
            raise BrokenSetError(f"'{prefix}.{group}' must be [T, D], not {list(golden.shape)}")
        end = start + golden.shape[1]
        yield compare(f"{prefix}.{group}", columns[:, start:end], golden, TOLERANCE)
        start = end
