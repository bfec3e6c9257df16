# SPDX-License-Identifier: Apache-2.0
"""Recognise golden sets of models that this version does not have."""

from collections import Counter
from pathlib import Path

from groot_ros.checkpoint.safetensors_file import read_header
from groot_ros.core.config_reader import CheckpointError, Fields

#: First word of tensor names that only one model has. A single such tensor is not enough: in a set
#: of GR00T it is an error.
_TENSORS = {"paligemma_with_expert": "pi0"}
_ENOUGH = 2
#: Keys of a head's config.json, and first words of its tensors, that only GR00T N1.5 has.
_N1D5_KEYS = ("num_target_vision_tokens", "vl_self_attention_cfg")
_N1D5_TENSORS = ("future_tokens", "vl_self_attention")


def other_model(folder: Path) -> str | None:
    """Return the model of a set if this version does not have that model, else None."""
    weights = folder / "state_dict.safetensors"
    try:
        names = read_header(weights) if weights.is_file() else {}
        telling = Counter(_TENSORS.get(name.partition(".")[0]) for name in names)
        found = {model for model, count in telling.items() if model and count >= _ENOUGH}
    except CheckpointError:
        return None
    return found.pop() if len(found) == 1 else None


def is_n1d5_head(folder: Path) -> bool:
    """Tell whether a set of an action head is of GR00T N1.5."""
    try:
        config = Fields.read(folder / "config.json")
        names = read_header(folder / "state_dict.safetensors")
    except CheckpointError:
        return False
    if any(config.has(key) for key in _N1D5_KEYS):
        return True
    found = [name for name in names if name.partition(".")[0] in _N1D5_TENSORS]
    return len(found) >= _ENOUGH
