# SPDX-License-Identifier: Apache-2.0
"""A reader of data sets as GR00T's loader reads them, written from the description of the format.

It shares no code with `groot_ros.datasets`, and is as strict as GR00T's: an episode has as many
frames as rows, groups are slices of list columns, and the instruction is found by its index.
"""

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq


def read_groot(path: Path, number: int) -> dict[str, Any]:
    """Return video.*, state.*, action.* arrays and the language of all rows of an episode."""
    meta = path / "meta"
    info = json.loads((meta / "info.json").read_text())
    modality = json.loads((meta / "modality.json").read_text())
    tasks = {}
    for line in (meta / "tasks.jsonl").read_text().splitlines():
        entry = json.loads(line)
        tasks[entry["task_index"]] = entry["task"]
    episodes = [json.loads(line) for line in (meta / "episodes.jsonl").read_text().splitlines()]
    where = {"episode_chunk": number // info["chunks_size"], "episode_index": number}
    table = pq.read_table(path / info["data_path"].format(**where))
    length = min(table.num_rows, episodes[number]["length"])
    read: dict[str, Any] = {"length": length}
    for kind, column in (("state", "observation.state"), ("action", "action")):
        for group, entry in modality[kind].items():
            rows = table[entry.get("original_key", column)].to_pylist()
            cut = [row[entry["start"] : entry["end"]] for row in rows]
            read[f"{kind}.{group}"] = np.array(cut, dtype=np.float32)
    for view, entry in modality["video"].items():
        key = entry["original_key"]
        assert key in info["features"]
        file = path / info["video_path"].format(video_key=key, **where)
        with av.open(str(file)) as container:
            frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        assert len(frames) == length
        read[f"video.{view}"] = np.stack(frames)
    key = modality["annotation"]["human.task_description"]["original_key"]
    read["language"] = [tasks[index] for index in table[key].to_pylist()]
    stats = json.loads((meta / "stats.json").read_text())
    for name, feature in info["features"].items():
        if "float" in feature["dtype"]:
            assert set(stats[name]) >= {"mean", "std", "min", "max", "q01", "q99"}
    read["statistics"] = stats
    return read
