"""Reads chosen arrays of an npz file, and believes no size that the file declares."""

import math
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.config_reader import unreadable

#: Bytes of one array, unpacked.
LARGEST = 1 << 30
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
#: Bytes of the description that stands before an array; numpy itself writes about 100.
_LONGEST_HEADER = 10_000
_MAGIC = np.lib.format.MAGIC_PREFIX

Check = Callable[[str, tuple[int, ...]], str]


def names_in(path: Path) -> list[str]:
    """The keys of an npz file, none of them read; ValueError where it is none."""
    with _opened(path) as file:
        return [_key(member) for member in file.namelist()]


def read_npz(path: Path, wanted: Callable[[str], bool], check: Check) -> dict[str, NDArray[Any]]:
    """Key -> array.

    Args:
        path: of the file.
        wanted: says of a key whether it is read at all.
        check: says what is wrong with a key of a shape, "" for nothing, before any data is read.

    Raises:
        ValueError: one line naming file and key: the file cannot be read, an array is larger than
            `LARGEST`, or `check` objects.

    """
    with _opened(path) as file:
        members = {_key(m): m for m in file.namelist() if wanted(_key(m))}
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
        NotImplementedError,  # a way of packing that Python does not know
        RuntimeError,  # encrypted
    ) as error:
        problem = f"cannot be read: {error or type(error).__name__}"
    raise ValueError(f"{path}: '{key}' {problem}")


def _problem(stream: IO[bytes], key: str, check: Check) -> str:
    """What is wrong with the array that begins here, by its description alone."""
    start = stream.read(12)
    if not start.startswith(_MAGIC):
        return "is not a numpy array (numpy.savez writes them)"
    version = (start[len(_MAGIC)], start[len(_MAGIC) + 1])
    if version not in _HEADERS:
        return f"is a numpy array of format {version[0]}.{version[1]}, which is not supported"
    length = int.from_bytes(start[8 : 10 if version == (1, 0) else 12], "little")
    if length > _LONGEST_HEADER:
        return f"has a description of {length} bytes, at most {_LONGEST_HEADER}"
    stream.seek(len(_MAGIC) + 2)
    try:
        shape, _, dtype = _HEADERS[version](stream)
    except Exception:  # numpy parses it as Python source, and raises whatever comes up
        return "cannot be read: its description is none"
    if (size := math.prod(shape) * dtype.itemsize) > LARGEST:
        return f"has {size} bytes {list(shape)}, at most {LARGEST}"
    return check(key, shape)
