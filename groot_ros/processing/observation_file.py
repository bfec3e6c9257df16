"""One observation in an npz file, for trying a checkpoint without a robot."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.types import MalformedError, Observation


def read_observation(
    path: Path, *, instruction: str | None = None, sample: int | None = None
) -> Observation:
    """Images, state and instruction.

    Args:
        path: npz with `image.<view>` uint8 RGB [H, W, 3] or [T, H, W, 3], `state.<group>` [D] or
            [T, D], and perhaps `instruction`, a text. All may have a leading batch dimension.
            Other keys are ignored.
        instruction: instead of the file's.
        sample: row of a file that holds a batch.

    Raises:
        ValueError: one line naming file and key.

    """
    arrays = _arrays(path)
    images = _samples(path, arrays, "image.", ("T", "H", "W", "3"), sample)
    state = _samples(path, arrays, "state.", ("T", "D"), sample)
    if not images or not state:
        raise ValueError(
            f"{path}: needs 'image.<view>' and 'state.<group>', "
            f"holds {', '.join(arrays) or 'nothing'}"
        )
    text = _text(path, arrays, sample) if instruction is None else instruction
    if sample is not None and not _holds_batch(arrays):
        raise ValueError(f"{path}: holds no batch, there is no sample {sample}")
    try:
        return Observation(0, images, state, text)
    except MalformedError as error:
        raise ValueError(f"{path}: {error.detail}") from error


def read_observations(path: Path, *, instruction: str | None = None) -> list[Observation]:
    """All observations of an npz file, or of all npz files of a directory, by name.

    Arguments and exceptions as of `read_observation`; a file may hold one or a batch.
    """
    if path.is_dir():
        files = sorted(path.glob("*.npz"))
        if not files:
            raise ValueError(f"{path}: holds no npz file")
        return [o for file in files for o in read_observations(file, instruction=instruction)]
    counts = {len(a) for key, a in _arrays(path).items() if key.startswith("image.") and a.ndim > 4}
    if not counts:
        return [read_observation(path, instruction=instruction)]
    return [
        read_observation(path, instruction=instruction, sample=row) for row in range(min(counts))
    ]


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: is not an npz file (numpy.savez writes one)")
    try:
        with np.load(path) as file:
            return dict(file)
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error


def _samples(
    path: Path,
    arrays: Mapping[str, NDArray[Any]],
    prefix: str,
    shape: tuple[str, ...],
    sample: int | None,
) -> dict[str, NDArray[Any]]:
    """Name -> [T, ...] of one sample; an array may lack T, or have a batch before it."""
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
            wanted = ", ".join(shape)
            raise ValueError(f"{path}: '{key}' must be [{wanted}], not {list(array.shape)}")
        found[key.removeprefix(prefix)] = one
    return found


def _holds_batch(arrays: Mapping[str, NDArray[Any]]) -> bool:
    ranks = {"image": 5, "state": 3, "instruction": 1}
    return any(array.ndim == ranks.get(key.split(".")[0]) for key, array in arrays.items())


def _row(path: Path, key: str, count: int, sample: int | None) -> int:
    if sample is None:
        raise ValueError(f"{path}: '{key}' holds a batch of {count}: say which sample to take")
    if not 0 <= sample < count:
        raise ValueError(f"{path}: '{key}' holds a batch of {count}, there is no sample {sample}")
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
