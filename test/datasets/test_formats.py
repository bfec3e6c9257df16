# SPDX-License-Identifier: Apache-2.0
"""Files of both versions, compared with the description of the format."""

import json
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.groot_reader import read_groot

from groot_ros.datasets import DatasetError
from groot_ros.datasets.combine import merge_datasets
from groot_ros.datasets.from_bags import convert_bags
from groot_ros.datasets.reader import Dataset
from groot_ros.datasets.statistics import aggregate, column_statistics

CAMERAS = ("observation.images.front", "observation.images.wrist")


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def v3(made, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("v3") / "data"
    convert_bags(made.bags, out, made.settings, "v3.0", jobs=1)
    return out


def test_v21_has_the_files_and_counts_of_the_format(made) -> None:
    info = json.loads((made.path / "meta" / "info.json").read_text())
    episodes = lines(made.path / "meta" / "episodes.jsonl")
    assert info["codebase_version"] == "v2.1"
    assert (info["fps"], info["chunks_size"], info["total_chunks"]) == (30, 1000, 1)
    assert info["total_episodes"] == len(episodes) == 3
    assert info["total_videos"] == 6
    assert info["total_frames"] == sum(episode["length"] for episode in episodes)
    assert info["splits"] == {"train": "0:3"}
    assert [task["task"] for task in lines(made.path / "meta" / "tasks.jsonl")] == [
        "touch the red cube",
        "touch the blue cube",
    ]
    statistics = lines(made.path / "meta" / "episodes_stats.jsonl")
    assert set(statistics[0]["stats"]["action"]) == {"min", "max", "mean", "std", "count"}
    assert np.shape(statistics[0]["stats"][CAMERAS[0]]["mean"]) == (3, 1, 1)
    assert 0.3 < statistics[0]["stats"][CAMERAS[0]]["mean"][0][0][0] < 0.7


def test_rows_are_scalars_and_fixed_size_lists_counted_without_gaps(made) -> None:
    first = 0
    for number in range(3):
        file = made.path / "data" / "chunk-000" / f"episode_{number:06d}.parquet"
        table = pq.read_table(file)
        rows = table.num_rows
        assert table.schema.field("action").type == pa.list_(pa.float32(), 6)
        assert table.schema.field("timestamp").type == pa.float32()
        assert table.schema.field("intervention").type == pa.bool_()
        assert table["index"].to_pylist() == list(range(first, first + rows))
        assert table["frame_index"].to_pylist() == list(range(rows))
        assert set(table["episode_index"].to_pylist()) == {number}
        assert set(table.column_names) == {
            *("observation.state", "action", "stamp_ns", "intervention", "next.success"),
            *("timestamp", "frame_index", "episode_index", "index", "task_index"),
        }
        first += rows


def test_a_reader_written_from_the_description_of_groot_reads_it(made) -> None:
    for number, text in enumerate(("touch the red cube", "touch the blue cube")):
        read = read_groot(made.path, number)
        assert read["state.single_arm"].shape == read["action.single_arm"].shape
        assert read["action.gripper"].shape == (read["length"], 1)
        assert read["video.front"].shape == (read["length"], 48, 64, 3)
        assert set(read["language"]) == {text}
        low, high = (np.array(read["statistics"]["action"][key]) for key in ("min", "max"))
        assert (read["action.single_arm"] >= low[:5]).all()
        assert (read["action.single_arm"] <= high[:5]).all()


def test_the_contract_and_its_fingerprint_are_in_the_data_set(made) -> None:
    robot = json.loads((made.path / "meta" / "groot_ros.json").read_text())
    assert robot["contract"].startswith("# The SO-101 arm")
    assert len(robot["fingerprint"]) == 12


def test_frames_are_shown_at_the_times_of_their_rows_without_b_frames(made) -> None:
    file = made.path / "videos" / "chunk-000" / CAMERAS[0] / "episode_000000.mp4"
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.codec.canonical_name == "h264"
        assert stream.average_rate == 30
        times = [
            p.pts * p.time_base for p in container.demux(stream) if p.size and p.pts is not None
        ]
    assert [float(t) for t in times] == [k / 30 for k in range(len(times))]


def test_v3_states_where_each_episode_is(made, v3) -> None:
    (episodes,) = (v3 / "meta" / "episodes").rglob("*.parquet")
    rows = pq.read_table(episodes).to_pylist()
    lengths = [episode.length for episode in Dataset(made.path).episodes]
    data = pq.ParquetFile(v3 / "data" / "chunk-000" / "file-000.parquet")
    assert data.num_row_groups == 3
    first = 0
    for row, length in zip(rows, lengths, strict=True):
        assert (row["dataset_from_index"], row["dataset_to_index"]) == (first, first + length)
        for camera in CAMERAS:
            assert row[f"videos/{camera}/from_timestamp"] == first / 30
            assert row[f"videos/{camera}/to_timestamp"] == (first + length) / 30
        assert len(row["stats/action/q50"]) == 6
        assert np.shape(row[f"stats/{CAMERAS[0]}/q99"]) == (3, 1, 1)
        first += length
    info = json.loads((v3 / "meta" / "info.json").read_text())
    assert (info["codebase_version"], info["total_frames"]) == ("v3.0", first)
    assert "total_chunks" not in info


def test_v3_joins_the_frames_of_v21_without_encoding_them_again(made, tmp_path) -> None:
    merge_datasets([made.path], tmp_path / "v3", "v3.0")
    (joined,) = (tmp_path / "v3" / "videos" / CAMERAS[0]).rglob("*.mp4")
    with av.open(str(joined)) as container:
        frames = [
            (f.pts * f.time_base, f.to_ndarray(format="rgb24")) for f in container.decode(video=0)
        ]
    assert [float(t) for t, _ in frames] == [k / 30 for k in range(len(frames))]
    single = [rgb for e in Dataset(made.path).episodes for rgb in e.frames("front")]
    assert len(single) == len(frames)
    assert all((a == b).all() for a, (_, b) in zip(single, frames, strict=True))


def test_the_index_of_the_tasks_table_is_the_text_for_pandas(v3) -> None:
    file = v3 / "meta" / "tasks.parquet"
    metadata = json.loads(pq.read_schema(file).metadata[b"pandas"])
    assert metadata["index_columns"] == ["task"]
    pandas = pytest.importorskip("pandas")
    tasks = pandas.read_parquet(file)
    assert int(tasks.loc["touch the blue cube"].task_index) == 1


def test_the_reader_rejects_v3_with_what_to_do(v3) -> None:
    with pytest.raises(DatasetError, match=r"version v3\.0, readable are .*convert_v3_to_v2\.py"):
        Dataset(v3)


def test_merged_statistics_equal_those_of_all_rows() -> None:
    random = np.random.default_rng(2)
    parts = [random.normal(i, 1 + i, (50 + 10 * i, 3)) for i in range(4)]
    merged = aggregate([column_statistics(part) for part in parts])
    whole = column_statistics(np.concatenate(parts))
    for key in ("min", "max", "mean", "std", "count"):
        np.testing.assert_allclose(merged[key], whole[key], rtol=1e-12)


def test_tasks_are_counted_anew_when_data_sets_are_merged(made, copy, tmp_path) -> None:
    tasks = copy / "meta" / "tasks.jsonl"
    tasks.write_text(tasks.read_text().replace("red", "green"))
    assert merge_datasets([made.path, copy], tmp_path / "both") == 6
    both = Dataset(tmp_path / "both")
    assert list(both.tasks.values()) == [
        *("touch the red cube", "touch the blue cube", "touch the green cube"),
    ]
    assert [set(e.instructions()) for e in both.episodes[3:5]] == [
        {"touch the green cube"},
        {"touch the blue cube"},
    ]
    assert both.info["total_frames"] == 2 * Dataset(made.path).info["total_frames"]


def test_a_file_that_is_missing_is_named_when_data_sets_are_merged(copy, tmp_path) -> None:
    (copy / "videos" / "chunk-000" / CAMERAS[1] / "episode_000001.mp4").unlink()
    with pytest.raises(DatasetError, match=r"episode 1: .*episode_000001\.mp4 is missing"):
        merge_datasets([copy], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_instruction_is_found_in_an_annotation_column(copy) -> None:
    modality = copy / "meta" / "modality.json"
    value = json.loads(modality.read_text())
    value["annotation"] = {"human.validity": {}, "human.action.task_description": {}}
    modality.write_text(json.dumps(value))
    assert Dataset(copy).instruction_column == "annotation.human.action.task_description"
