# SPDX-License-Identifier: Apache-2.0
"""Observations from npz files: histories, batches, and every kind of malformed file."""

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groot_ros.processing.observation_file import read_observation, read_observations

IMAGE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
GIVEN = {"image.front": IMAGE, "state.arm": np.array([1.0, 2.0]), "instruction": "go"}


def write(directory: Path, **changes: Any) -> Path:
    path = directory / "seen.npz"
    np.savez(path, **{**GIVEN, **changes})
    return path


def test_single_frames_and_states_become_histories_of_one_step(tmp_path: Path) -> None:
    seen = read_observation(write(tmp_path))
    assert np.array_equal(seen.images["front"], IMAGE[None])
    assert np.array_equal(seen.state["arm"], [[1.0, 2.0]])
    assert seen.instruction == "go"


def test_histories_are_kept_and_other_keys_ignored(tmp_path: Path) -> None:
    frames, states = np.stack([IMAGE, IMAGE + 1]), np.ones((3, 2), dtype=np.float32)
    changes = {"image.front": frames, "state.arm": states, "noise": np.zeros(3)}
    seen = read_observation(write(tmp_path, **changes))
    assert np.array_equal(seen.images["front"], frames)
    assert seen.state["arm"].shape == (3, 2)
    assert set(seen.images) | set(seen.state) == {"front", "arm"}


def test_one_sample_of_a_batch_is_selected(tmp_path: Path) -> None:
    batch = {
        "image.front": np.stack([IMAGE[None], IMAGE[None] + 1]),
        "state.arm": np.array([[[1.0, 2.0]], [[3.0, 4.0]]]),
        "instruction": np.array(["left", "right"]),
    }
    path = write(tmp_path, **batch)
    seen = read_observation(path, sample=1)
    assert np.array_equal(seen.images["front"], IMAGE[None] + 1)
    assert np.array_equal(seen.state["arm"], [[3.0, 4.0]])
    assert seen.instruction == "right"
    with pytest.raises(ValueError, match=r"'image.front' holds a batch of 2: choose a sample"):
        read_observation(path)
    with pytest.raises(ValueError, match="a batch of 2: the sample must be from 0 to 1"):
        read_observation(path, sample=2)


def test_a_given_instruction_overrides_that_of_the_file(tmp_path: Path) -> None:
    assert read_observation(write(tmp_path), instruction="stop").instruction == "stop"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"image.front": IMAGE.astype(np.float32)}, "image 'front' must be uint8"),
        ({"image.front": IMAGE[..., :2]}, r"image 'front' must be uint8 \[T, H, W, 3\]"),
        ({"image.front": IMAGE[0]}, r"'image.front' must be \[T, H, W, 3\], not \[3, 3\]"),
        ({"state.arm": np.float64(1.0)}, r"'state.arm' must be \[T, D\], not \[\]"),
        ({"state.arm": np.array([1.0, np.nan])}, r"state 'arm'\[0, 1\] is nan"),
        ({"state.arm": np.array(["a"])}, "'state.arm' must be numbers, not <U1"),
        ({"state.arm": np.array([{}], dtype=object)}, "allow_pickle"),
        ({"instruction": np.float64(1.0)}, "'instruction' must be text, not float64"),
    ],
)
def test_a_wrong_array_is_a_one_line_error_naming_file_and_key(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(ValueError, match=problem) as caught:
        read_observation(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_without_images_or_instruction_is_rejected_with_its_keys(tmp_path: Path) -> None:
    path = tmp_path / "seen.npz"
    np.savez(path, state=np.zeros(2))
    with pytest.raises(ValueError, match=r"needs 'image.<view>' and 'state.<group>', holds state"):
        read_observation(path)
    np.savez(path, **{key: GIVEN[key] for key in ("image.front", "state.arm")})
    with pytest.raises(ValueError, match="has no 'instruction', and none was given"):
        read_observation(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "no such file"), (b"PK\x03\x04 cut off", "not an npz"), (b"text", "not an npz file")],
)
def test_a_file_that_is_not_npz_is_rejected(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    path = tmp_path / "seen.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=problem) as caught:
        read_observation(path)
    assert str(caught.value).startswith(f"{path}: ")


def packed(path: Path, key: str, content: bytes, **more: Any) -> Path:
    """Write an npz file whose member `key` has these bytes; the others are those of GIVEN."""
    np.savez(path, **{name: value for name, value in {**GIVEN, **more}.items() if name != key})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"{key}.npy", content)
    return path


def header_of(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    """Return the header of an array of this shape, without data."""
    stream = io.BytesIO()
    about = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, about)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (header_of((1_000_000, 1_000_000, 3)), r"has 3000000000000 bytes \[1000000, 1000000, 3\]"),
        (header_of((20_000, 10_000, 3)), "has frames of 20000 x 10000, more than 100000000 pixels"),
        (header_of((-1, 2, 3)), "cannot be read: "),
        (header_of((2, 3, 3)), "cannot be read: "),
        (b"no array", "is not a numpy array"),
        (b"", "is not a numpy array"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "has a header of 4294967295 bytes"),
        (b"\x93NUMPY\x03\x00" + bytes(20), "of format 3.0, which is not supported"),
        (b"\x93NUMPY\x01\x00\x10\x00" + b"{" * 16, "cannot be read: "),
    ],
)
def test_the_declared_shape_of_an_array_is_checked_before_it_is_unpacked(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = packed(tmp_path / "seen.npz", "image.front", content)
    tracemalloc.start()
    with pytest.raises(ValueError, match=problem) as caught:
        read_observation(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(caught.value).startswith(f"{path}: 'image.front' ")
    assert "\n" not in str(caught.value)
    assert peak < 10_000_000


def test_an_unused_array_is_not_unpacked(tmp_path: Path) -> None:
    path = packed(tmp_path / "seen.npz", "depth", header_of((1_000_000, 1_000_000)))
    assert read_observation(path).instruction == "go"


def overwrite(path: Path, at: bytes, offset: int, value: int) -> None:
    content = bytearray(path.read_bytes())
    place = -1
    while (place := content.find(at, place + 1)) >= 0:
        content[place + offset : place + offset + 2] = value.to_bytes(2, "little")
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("local", "central", "value"),
    [((b"PK\x03\x04", 8), (b"PK\x01\x02", 10), 97), ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8), 1)],
    ids=["unknown compression", "encrypted"],
)
def test_unknown_compression_and_encryption_are_one_line_errors(
    tmp_path: Path, local: tuple[bytes, int], central: tuple[bytes, int], value: int
) -> None:
    path = write(tmp_path)
    overwrite(path, *local, value)
    overwrite(path, *central, value)
    with pytest.raises(ValueError, match=r"^.*seen.npz: '.*' cannot be read: "):
        read_observation(path)


def test_corrupt_data_is_a_one_line_error(tmp_path: Path) -> None:
    path = tmp_path / "seen.npz"
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 16, (64, 64, 3)).astype(np.uint8)
    np.savez_compressed(path, **{**GIVEN, "image.front": frame})
    content = bytearray(path.read_bytes())
    content[300:400] = bytes([0xFF] * 100)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"'image.front' cannot be read: "):
        read_observation(path)


def test_a_directory_and_an_unreadable_file_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="cannot be read: Is a directory; a file is expected"):
        read_observation(tmp_path)
    path = write(tmp_path)

    def reject(self: Path, mode: str = "r") -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", reject)
    with pytest.raises(ValueError, match=r"seen.npz: cannot be read: Permission denied; let this"):
        read_observation(path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [("a" * 2001, "has 2001 characters, at most 2000"), ("go\ud800", "half of a surrogate pair")],
)
def test_an_instruction_that_the_nodes_would_reject_is_rejected(
    tmp_path: Path, text: str, problem: str
) -> None:
    path = write(tmp_path, instruction=text)
    with pytest.raises(ValueError, match=problem) as caught:
        read_observation(path)
    assert str(caught.value).startswith(f"{path}: the instruction ")
    with pytest.raises(ValueError, match=problem):
        read_observation(write(tmp_path), instruction=text)


def test_a_directory_with_only_actions_is_rejected(tmp_path: Path) -> None:
    saved = {"dt": 0.1, "seed": 1, "embodiment": "a", "checkpoint": "b", "action.arm": np.zeros(2)}
    np.savez(tmp_path / "actions.npz", **saved)
    with pytest.raises(ValueError, match="holds only actions saved by groot-ros infer"):
        read_observations(tmp_path)
