"""An npz file to one observation, and every way in which it can be wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from groot_ros.processing.observation_file import read_observation

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


def test_histories_stay_as_they_are_and_other_keys_are_ignored(tmp_path: Path) -> None:
    frames, states = np.stack([IMAGE, IMAGE + 1]), np.ones((3, 2), dtype=np.float32)
    changes = {"image.front": frames, "state.arm": states, "noise": np.zeros(3)}
    seen = read_observation(write(tmp_path, **changes))
    assert np.array_equal(seen.images["front"], frames)
    assert seen.state["arm"].shape == (3, 2)
    assert set(seen.images) | set(seen.state) == {"front", "arm"}


def test_one_sample_of_a_batch_is_taken(tmp_path: Path) -> None:
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
    with pytest.raises(ValueError, match=r"'image.front' holds a batch of 2: say which sample"):
        read_observation(path)
    with pytest.raises(ValueError, match="a batch of 2, there is no sample 2"):
        read_observation(path, sample=2)


def test_a_given_instruction_counts_more_than_the_file_s(tmp_path: Path) -> None:
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
def test_what_does_not_fit_is_one_line_naming_file_and_key(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(ValueError, match=problem) as caught:
        read_observation(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_without_images_or_instruction_says_what_it_holds(tmp_path: Path) -> None:
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
def test_a_file_of_another_kind_is_refused(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    path = tmp_path / "seen.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=problem) as caught:
        read_observation(path)
    assert str(caught.value).startswith(f"{path}: ")
