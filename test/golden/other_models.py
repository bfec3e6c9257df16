# SPDX-License-Identifier: Apache-2.0
"""Recognise golden sets of models that this version does not have."""

from collections import Counter
from pathlib import Path

from groot_ros.checkpoint.safetensors_file import read_header
from groot_ros.core.config_reader import CheckpointError, Fields

_N1D5 = "GR00T N1.5"
#: First word of tensor names that only one model has. A single such tensor is not enough: in a set
#: of GR00T N1.6 it is an error.
_TENSORS = {"future_tokens": _N1D5, "vl_self_attention": _N1D5}
_ENOUGH = 2
#: (key, value) of config files.
_CONFIGS = {
    ("model_type", "gr00t_n1_5"): _N1D5,
    ("type", "groot"): _N1D5,
    ("model_type", "eagle_2_5_vl"): _N1D5,
}
#: Files of sets that have no config.
_FILES = {"normalizer_units.safetensors": _N1D5, "normalizer_units.json": _N1D5}


def other_model(folder: Path) -> str | None:
    """Return the model of a set if this version does not have that model, else None."""
    for name, model in _FILES.items():
        if (folder / name).is_file():
            return model
    weights = folder / "state_dict.safetensors"
    try:
        names = read_header(weights) if weights.is_file() else {}
        telling = Counter(_TENSORS.get(name.partition(".")[0]) for name in names)
        found = {model for model, count in telling.items() if model and count >= _ENOUGH}
        for path in (*folder.glob("*config.json"), *folder.glob("*/config.json")):
            config = Fields.read(path)
            found |= {
                model for (key, value), model in _CONFIGS.items() if config.get(key, "") == value
            }
    except CheckpointError:
        return None
    return found.pop() if len(found) == 1 else None
