# SPDX-License-Identifier: Apache-2.0
"""A tiny LeRobot data set: an arm that moves towards a square whose place the images show."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from groot_ros.core.share import robot_path
from groot_ros.datasets.episodes import EpisodeFiles
from groot_ros.datasets.features import Description, describe, to_table, width_of
from groot_ros.datasets.video import VideoEncoder
from groot_ros.datasets.writer import write_dataset
from groot_ros.robot import load_contract

FPS = 30
SIZE = (48, 64)
VIEWS = ("front", "wrist")


def write_training_data(
    folder: Path, episodes: int = 4, length: int = 12, places: int = 2, labels: bool = False
) -> Path:
    """Write a data set of the SO-101; return its folder.

    Args:
        folder: directory to create.
        episodes: number of episodes.
        length: rows of an episode.
        places: number of different places of the square.
        labels: write the columns label.<view>.

    """
    rng = np.random.default_rng(0)
    squares = rng.uniform(0.2, 0.8, (places, 2))
    parts = folder.with_name(f"{folder.name}_parts")
    parts.mkdir(parents=True)
    description = _description(labels)
    files = [
        _episode(parts / str(number), description, squares[number % places], length, labels)
        for number in range(episodes)
    ]
    folder.mkdir()
    write_dataset(folder, description, files)
    return folder


def _description(labels: bool) -> Description:
    contract = load_contract(robot_path("so101"))
    text = robot_path("so101").read_text(encoding="utf-8")
    widths = {"single_arm": 5, "gripper": 1}
    robot = {"contract": text, "fingerprint": contract.fingerprint()}
    made = describe(contract, robot, dict.fromkeys(VIEWS, SIZE), FPS, widths)
    if not labels:
        return made
    features = {
        **made.features,
        **{f"label.{v}": {"dtype": "float32", "shape": [2], "names": None} for v in VIEWS},
    }
    return Description(made.fps, made.robot_type, features, made.modality, made.robot)


def _episode(
    folder: Path, description: Description, place: np.ndarray, length: int, labels: bool
) -> EpisodeFiles:
    folder.mkdir()
    target = np.array([60, 40, 20, -30, 50, 80]) * (place[0] - 0.5) * np.ones(6)
    state = np.linspace(np.zeros(6), target, length)
    action = np.concatenate([state[1:], state[-1:]])
    columns = {
        "observation.state": state,
        "action": action,
        "stamp_ns": np.arange(length) * 10**9 // FPS,
        "intervention": np.zeros(length, bool),
        "next.success": np.arange(length) == length - 1,
        "timestamp": np.arange(length) / FPS,
        **{n: np.arange(length) for n in ("frame_index", "index")},
        **{n: np.zeros(length, int) for n in ("episode_index", "task_index")},
    }
    if labels:
        columns |= {f"label.{view}": np.tile(place, (length, 1)) for view in VIEWS}
    assert all(width_of(f) for f in description.columns.values())
    pq.write_table(to_table(columns, description.columns), folder / "rows.parquet")
    videos = {}
    for view in VIEWS:
        frame = np.full((*SIZE, 3), 90, np.uint8)
        down, right = int(place[1] * SIZE[0]), int(place[0] * SIZE[1])
        frame[max(0, down - 5) : down + 5, max(0, right - 5) : right + 5] = (220, 30, 30)
        videos[f"observation.images.{view}"] = folder / f"{view}.mp4"
        encoder = VideoEncoder(folder / f"{view}.mp4", FPS)
        for _ in range(length):
            encoder.add_frame(frame)
        encoder.close()
    return EpisodeFiles(
        str(folder), folder / "rows.parquet", length, videos, {0: "touch the red cube"}
    )
