# SPDX-License-Identifier: Apache-2.0
"""Golden sets of GR00T N1.5 checkpoints in LeRobot's layout.

Their sizes, inputs and outputs are those of a set in NVIDIA's layout with the same weights, which
is looked for in the same folder.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from golden import n1d5_full
from golden.arrays import GoldenSet
from golden.comparison import Comparison, UnavailableError, same
from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.families.gr00t_n1d5.checkpoint import find_files
from groot_ros.families.gr00t_n1d5.config import LEROBOT_TYPE
from groot_ros.families.gr00t_n1d5.metadata import lerobot_tags, read_lerobot
from groot_ros.families.gr00t_n1d5.weights import (
    VOCABULARY,
    WEIGHTS,
    index_weights,
    with_decoders_of,
)

FILES = ("config.json", "model.safetensors", "policy_preprocessor.json")
#: Tensor that tells sets of the same sizes apart.
_TELLING = "action_head.future_tokens.weight"


def belongs(folder: Path) -> bool:
    """Tell whether the set is a LeRobot checkpoint of GR00T."""
    return Fields.read(folder / "config.json").get("type", "") == LEROBOT_TYPE


def comparisons(source: GoldenSet) -> Iterator[Comparison]:
    base = _base_of(source.folder)
    checkpoint = base / "checkpoint"
    files = find_files(source.folder, checkpoint, None)
    config = with_decoders_of(files.read_config(), source.folder)
    ours = {n: e for n, e in index_weights(source.folder).items() if n != VOCABULARY}
    theirs = {n: e for n, e in index_weights(checkpoint).items() if n != VOCABULARY}
    yield same("names of the tensors", sorted(ours) == sorted(theirs), True)
    stored = source.tensors("model.safetensors")
    for name in sorted(ours.keys() & theirs.keys()):
        assert ours[name].name in stored
        stored[ours[name].name]
        yield same(name, ours[name].read(), theirs[name].read())
    yield from n1d5_full.cases(GoldenSet(base), source.folder, config, decoded=False)
    yield from _statistics(source)


def _statistics(source: GoldenSet) -> Iterator[Comparison]:
    layout = read_lerobot(source.folder, lerobot_tags(source.folder)[0])
    for path in layout.files.values():
        if path.suffix != ".safetensors":
            continue
        golden = source.tensors(path.name)
        for kind, group in (("observation.state", layout.state[0]), ("action", layout.action[0])):
            for name, ours in (("min", group.low), ("max", group.high)):
                if f"{kind}.{name}" in golden:
                    theirs = golden[f"{kind}.{name}"].double().numpy()
                    yield same(f"{path.name}: {kind}.{name}", np.asarray(ours), theirs)


def _base_of(folder: Path) -> Path:
    """Return the set in the same folder that has these weights, or at least their shapes."""
    fitting = []
    for path in sorted(folder.parent.glob("*/checkpoint/config.json")):
        other = path.parent.parent
        try:
            if n1d5_full.belongs(other):
                files = find_files(folder, path.parent, None)
                WEIGHTS.fitting(folder, with_decoders_of(files.read_config(), folder))
                fitting.append(other)
        except CheckpointError:
            continue
    if not fitting:
        raise UnavailableError(
            f"needs a set in NVIDIA's layout with these weights in {folder.parent}"
        )
    ours = index_weights(folder)[_TELLING].read()
    return next(
        (s for s in fitting if ours.equal(index_weights(s / "checkpoint")[_TELLING].read())),
        fitting[0],
    )
