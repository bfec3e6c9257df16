# SPDX-License-Identifier: Apache-2.0
"""Read selected arrays of an npz file, and check declared sizes before memory is allocated."""

import math
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.config_reader import unreadable

#: Largest accepted size of one unpacked array, in bytes.
LARGEST = 1 << 30
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
#: Largest accepted header of an array, in bytes; numpy writes about 100.
_LONGEST_HEADER = 10_000
_MAGIC = np.lib.format.MAGIC_PREFIX

Check = Callable[[str, tuple[int, ...]], str]


def names_in(path: Path) -> list[str]:
    """Return the keys of an npz file without reading its arrays.

    Raises:
        ValueError: the file cannot be read or is not an npz file.

    """
    with _opened(path) as file:
        return [_key(member) for member in file.namelist()]


def read_npz(path: Path, is_needed: Callable[[str], bool], check: Check) -> dict[str, NDArray[Any]]:
    """Read arrays of an npz file by key.

    Args:
        path: file to read.
        is_needed: returns True for a key that is to be read; other arrays are skipped.
        check: returns an error text for a key and its shape, or "" to accept the array; called
            before the array's data is read.

    Raises:
        ValueError: the file cannot be read, an array is larger than `LARGEST`, or `check` rejects
            it; one line that names file and key.

    """
    with _opened(path) as file:
        members = {_key(m): m for m in file.namelist() if is_needed(_key(m))}
        return {key: _read(path, file, key, member, check) for key, member in members.items()}


def _opened(path: Path) -> zipfile.ZipFile:
    if not path.exists():
        raise ValueError(f"{path}: no such file")
    try:
        with path.open("rb"):
            return zipfile.ZipFile(path)
    except zipfile.BadZipFile:
        raise ValueError(f"{path}: is not an npz file (numpy.savez writes one)") from None
    except OSError as error:
        raise unreadable(path, error) from error
    except (NotImplementedError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error


def _key(member: str) -> str:
    return member.removesuffix(".npy")


def _read(path: Path, file: zipfile.ZipFile, key: str, member: str, check: Check) -> NDArray[Any]:
    try:
        with file.open(member) as stream:
            problem = _problem(stream, key, check)
        if not problem:
            with file.open(member) as stream:
                array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
                return array
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        MemoryError,
        NotImplementedError,  # unsupported compression method
        RuntimeError,  # encrypted
    ) as error:
        problem = f"cannot be read: {error or type(error).__name__}"
    raise ValueError(f"{path}: '{key}' {problem}")


def _problem(stream: IO[bytes], key: str, check: Check) -> str:
    """Return why the array that starts here is rejected, from its header alone; "" = accepted."""
    start = stream.read(12)
    if not start.startswith(_MAGIC):
        return "is not a numpy array (numpy.savez writes them)"
    version = (start[len(_MAGIC)], start[len(_MAGIC) + 1])
    if version not in _HEADERS:
        return f"is a numpy array of format {version[0]}.{version[1]}, which is not supported"
    length = int.from_bytes(start[8 : 10 if version == (1, 0) else 12], "little")
    if length > _LONGEST_HEADER:
        return f"has a header of {length} bytes, at most {_LONGEST_HEADER} are accepted"
    stream.seek(len(_MAGIC) + 2)
    try:
        shape, _, dtype = _HEADERS[version](stream)
    except Exception:  # numpy parses it as Python source and raises exceptions of many types
        return "cannot be read: its header is malformed"
    if (size := math.prod(shape) * dtype.itemsize) > LARGEST:
        return f"has {size} bytes {list(shape)}, at most {LARGEST} are accepted"
    return check(key, shape)
