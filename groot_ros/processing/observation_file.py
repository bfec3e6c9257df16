# SPDX-License-Identifier: Apache-2.0
"""Observations in npz files, for trying a checkpoint without a robot."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import MalformedError, Observation, instruction_problem
from groot_ros.processing.npz_file import names_in, read_npz

#: Largest accepted frame, in pixels; well above the size of camera frames.
_MOST_PIXELS = 100_000_000
_KEYS = ("image.", "state.")
#: Keys that `groot-ros infer` saves in addition to its actions.
_OF_A_CHUNK = {"dt", "seed", "embodiment", "checkpoint"}


def read_observation(
    path: Path, *, instruction: str | None = None, sample: int | None = None
) -> Observation:
    """Read one observation: images, state and instruction.

    Args:
        path: npz with `image.<view>` uint8 RGB [H, W, 3] or [T, H, W, 3], `state.<group>` [D] or
            [T, D], and optionally `instruction`, a text. All may have a leading batch dimension.
            Other keys are not read.
        instruction: replaces the file's instruction.
        sample: row to read from a file with a batch dimension.

    Raises:
        ValueError: the file is malformed; one line that names file and key. Arrays above 1 GiB
            and frames above 100 megapixels are rejected before they are read.

    """
    arrays = _arrays(path)
    images = _samples(path, arrays, "image.", ("T", "H", "W", "3"), sample)
    state = _samples(path, arrays, "state.", ("T", "D"), sample)
    if not images or not state:
        names = names_in(path)
        made = "; these are actions saved by groot-ros infer" if _is_chunk(names) else ""
        raise ValueError(
            f"{path}: needs 'image.<view>' and 'state.<group>', "
            f"holds {', '.join(names) or 'nothing'}{made}"
        )
    text = _text(path, arrays, sample) if instruction is None else instruction
    if problem := instruction_problem(text):
        raise ValueError(f"{path}: {problem}" if instruction is None else problem)
    if sample is not None and not _holds_batch(arrays):
        raise ValueError(f"{path}: holds no batch, so no sample {sample} can be chosen")
    try:
        return Observation(0, images, state, text)
    except MalformedError as error:
        raise ValueError(f"{path}: {error.detail}") from error


def save_observation(observation: Observation, path: Path) -> None:
    """Write an observation so that read_observation() reads it."""
    arrays: dict[str, Any] = {f"image.{v}": image for v, image in observation.images.items()}
    arrays |= {f"state.{group}": values for group, values in observation.state.items()}
    with path.open("wb") as file:
        np.savez(file, instruction=np.array(observation.instruction), **arrays)


def read_observations(path: Path, *, instruction: str | None = None) -> list[Observation]:
    """Read all observations of an npz file, or of all npz files of a directory in order of name.

    A file may hold one observation or a batch. In a directory, files with actions that
    `groot-ros infer` saved are skipped. Arguments and exceptions are those of `read_observation`.
    """
    if path.is_dir():
        files = sorted(path.glob("*.npz"))
        if not files:
            raise ValueError(f"{path}: holds no npz file")
        files = [file for file in files if not _is_chunk(names_in(file))]
        if not files:
            raise ValueError(f"{path}: holds only actions saved by groot-ros infer")
        return [o for file in files for o in read_observations(file, instruction=instruction)]
    counts = {len(a) for key, a in _arrays(path).items() if key.startswith("image.") and a.ndim > 4}
    if not counts:
        return [read_observation(path, instruction=instruction)]
    return [
        read_observation(path, instruction=instruction, sample=row) for row in range(min(counts))
    ]


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    return read_npz(path, lambda key: key.startswith(_KEYS) or key == "instruction", _too_large)


def _too_large(key: str, shape: tuple[int, ...]) -> str:
    if key.startswith("image.") and len(shape) >= 3 and shape[-3] * shape[-2] > _MOST_PIXELS:
        return f"has frames of {shape[-3]} x {shape[-2]}, more than {_MOST_PIXELS} pixels"
    return ""


def _is_chunk(names: Sequence[str]) -> bool:
    """Tell whether a file with these keys holds actions that `groot-ros infer` saved."""
    actions = any(name.startswith("action.") for name in names)
    return actions and set(names) >= _OF_A_CHUNK and not any(n.startswith(_KEYS) for n in names)


def _samples(
    path: Path,
    arrays: Mapping[str, NDArray[Any]],
    prefix: str,
    shape: tuple[str, ...],
    sample: int | None,
) -> dict[str, NDArray[Any]]:
    """Return name -> [T, ...] of one sample.

    An array without T gets T = 1; one with a leading batch dimension is reduced to row `sample`.
    """
    found = {}
    for key, array in arrays.items():
        if not key.startswith(prefix):
            continue
        if array.dtype.kind not in "uif":
            raise ValueError(f"{path}: '{key}' must be numbers, not {array.dtype}")
        one = array
        if array.ndim == len(shape) + 1:
            one = array[_row(path, key, len(array), sample)]
        elif array.ndim == len(shape) - 1:
            one = array[None]
        if one.ndim != len(shape):
            dims = ", ".join(shape)
            raise ValueError(f"{path}: '{key}' must be [{dims}], not {list(array.shape)}")
        found[key.removeprefix(prefix)] = one
    return found


def _holds_batch(arrays: Mapping[str, NDArray[Any]]) -> bool:
    ranks = {"image": 5, "state": 3, "instruction": 1}
    return any(array.ndim == ranks.get(key.split(".")[0]) for key, array in arrays.items())


def _row(path: Path, key: str, count: int, sample: int | None) -> int:
    if sample is None:
        raise ValueError(
            f"{path}: '{key}' holds a batch of {count}: choose a sample from 0 to {count - 1}"
        )
    if not 0 <= sample < count:
        raise ValueError(
            f"{path}: '{key}' holds a batch of {count}: the sample must be from 0 to "
            f"{count - 1}, not {sample}"
        )
    return sample


def _text(path: Path, arrays: Mapping[str, NDArray[Any]], sample: int | None) -> str:
    if "instruction" not in arrays:
        raise ValueError(f"{path}: has no 'instruction', and none was given")
    text = arrays["instruction"]
    if text.dtype.kind != "U":
        raise ValueError(f"{path}: 'instruction' must be text, not {text.dtype}")
    if text.ndim:
        text = text[_row(path, "instruction", len(text), sample)]
    return str(text)
