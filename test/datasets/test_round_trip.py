# SPDX-License-Identifier: Apache-2.0
"""Data set to bag and back; images of the simulator; conversion on a Dask cluster."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.dask_cluster import dask_cluster
from support.robot_bags import SO101

from groot_ros.bags import BagError
from groot_ros.bags.episode import Outcome, read_episode
from groot_ros.core.share import robot_path
from groot_ros.datasets import DatasetError
from groot_ros.datasets.combine import merge_datasets
from groot_ros.datasets.from_bags import ConversionSettings, convert_bags
from groot_ros.datasets.reader import Dataset
from groot_ros.datasets.rows import RowSettings
from groot_ros.datasets.to_bag import episode_to_bag, write_bag
from groot_ros.datasets.video import VideoEncoder, decode_frames

#: An episode that was trimmed begins and ends as it should.
AGAIN = ConversionSettings(RowSettings(fps=0, trim_idle=False))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def test_a_data_set_that_becomes_bags_and_a_data_set_again_has_the_same_rows(
    made, tmp_path: Path
) -> None:
    before = Dataset(made.path)
    (tmp_path / "bags").mkdir()
    bags = [write_bag(made.path, tmp_path / "bags", e.number) for e in before.episodes]
    convert_bags(bags, tmp_path / "again", AGAIN, jobs=1)
    after = Dataset(tmp_path / "again")
    assert after.tasks == before.tasks
    assert [e.instructions() for e in after.episodes] == [e.instructions() for e in before.episodes]
    for old, new in zip(before.episodes, after.episodes, strict=True):
        assert new.table.equals(old.table)
        assert new.entry["outcome"] == old.entry["outcome"]
        for a, b in zip(old.frames("front"), new.frames("front"), strict=True):
            assert psnr(a, b) > 35
    assert after.description.robot["fingerprint"] == before.description.robot["fingerprint"]


def test_a_human_intervention_and_the_outcome_survive(made, copy, tmp_path: Path) -> None:
    file = copy / "data" / "chunk-000" / "episode_000002.parquet"
    table = pq.read_table(file)
    human = [10 <= k < 30 for k in range(table.num_rows)]
    names = table.column_names
    table = table.set_column(names.index("intervention"), "intervention", [human])
    success = [k == table.num_rows - 1 for k in range(table.num_rows)]
    table = table.set_column(names.index("next.success"), "next.success", [success])
    pq.write_table(table, file)
    meta = copy / "meta" / "episodes.jsonl"
    head, _, last = meta.read_text().rstrip("\n").rpartition("\n")
    meta.write_text(f"{head}\n{last.replace('unknown', 'success')}\n")
    bag = write_bag(copy, tmp_path, 2)
    assert read_episode(bag).outcome.value == "success"
    other = write_bag(made.path, tmp_path, 0)
    wanted = replace(AGAIN, outcome=Outcome.SUCCESS)
    conversion = convert_bags([other, bag], tmp_path / "again", wanted, jobs=1)
    assert conversion.notes[0] == f"bag {other}: left out, its outcome is unknown"
    with pytest.raises(DatasetError, match="none of the 1 bags has the outcome success"):
        convert_bags([other], tmp_path / "none", wanted, jobs=1)
    episode = Dataset(tmp_path / "again").episodes[0]
    assert episode.column("intervention").tolist() == human
    assert episode.column("next.success").tolist() == success
    assert episode.entry["outcome"] == "success"


def test_a_latency_of_the_contract_does_not_move_the_rows(made, tmp_path: Path) -> None:
    before = Dataset(made.path)
    text = str(before.description.robot["contract"])
    text = text.replace("latency: 0.0, rate: 30.0, mount", "latency: 0.02, rate: 30.0, mount")
    text = text.replace("rate: 100.0", "rate: 100.0, latency: 0.003")
    (tmp_path / "robot.yaml").write_text(text, encoding="utf-8")
    episode_to_bag(before, 2, tmp_path / "bag", tmp_path / "robot.yaml")
    convert_bags([tmp_path / "bag"], tmp_path / "again", AGAIN, jobs=1)
    again = Dataset(tmp_path / "again").episodes[0]
    for name in ("observation.state", "action", "stamp_ns"):
        np.testing.assert_array_equal(again.column(name), before.episodes[2].column(name))


def test_images_of_the_simulator_keep_a_psnr_of_35_db(tmp_path: Path) -> None:
    sim = pytest.importorskip("groot_ros.sim")
    arm = sim.SimulatedArm()
    arm.reset()
    originals = []
    with sim.CameraRenderer(arm.model, 640, 480) as renderer:
        encoders = {v: VideoEncoder(tmp_path / f"{v}.mp4", 30) for v in SO101.cameras}
        for _ in range(12):
            for view, encoder in encoders.items():
                rgb = renderer.render(arm.scene, view)
                originals.append((view, rgb))
                encoder.add_frame(rgb)
            for _ in range(16):
                arm.step()
        for encoder in encoders.values():
            encoder.close()
    for view in encoders:
        decoded = list(decode_frames(tmp_path / f"{view}.mp4"))
        own = [rgb for name, rgb in originals if name == view]
        assert len(decoded) == len(own)
        assert min(psnr(a, b) for a, b in zip(own, decoded, strict=True)) >= 35


def test_a_data_set_without_a_contract_needs_one(copy, tmp_path: Path) -> None:
    (copy / "meta" / "groot_ros.json").unlink()
    with pytest.raises(DatasetError, match="contains no robot contract: give one with --robot"):
        write_bag(copy, tmp_path, 0)


def test_a_contract_of_another_robot_is_rejected(made, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no state group"):
        write_bag(made.path, tmp_path, 0, robot=robot_path("arm7"))
    with pytest.raises(DatasetError, match="has no episode 7: it has 0 to 2"):
        write_bag(made.path, tmp_path, 7)


def test_an_existing_bag_is_not_overwritten(made, tmp_path: Path) -> None:
    (tmp_path / "episode_000000").mkdir()
    with pytest.raises(BagError, match="already exists"):
        write_bag(made.path, tmp_path, 0)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dask_cluster(tmp_path_factory.mktemp("dask")) as address:
        yield address


def test_a_dask_cluster_with_two_workers_writes_the_same_data_set(
    made, cluster, tmp_path: Path
) -> None:
    conversion = convert_bags(made.bags, tmp_path / "data", made.settings, dask=cluster)
    assert not conversion.failed
    local, remote = Dataset(made.path), Dataset(tmp_path / "data")
    assert remote.info == local.info
    for a, b in zip(local.episodes, remote.episodes, strict=True):
        assert a.table.equals(b.table)
        # Not bytes: x264 encodes about one video in a thousand differently the second time.
        for view in ("front", "wrist"):
            for one, other in zip(a.frames(view), b.frames(view), strict=True):
                assert (one == other).all() or psnr(one, other) > 38


def test_merging_one_data_set_writes_the_same_rows(made, tmp_path: Path) -> None:
    merge_datasets([made.path], tmp_path / "data")
    before, after = Dataset(made.path), Dataset(tmp_path / "data")
    assert all(
        a.table.equals(b.table) for a, b in zip(before.episodes, after.episodes, strict=True)
    )
    for name in ("stats.json", "episodes_stats.jsonl", "info.json", "modality.json"):
        old, new = (d.path / "meta" / name for d in (before, after))
        assert old.read_text() == new.read_text()


def test_data_sets_of_different_rates_are_not_merged(made, tmp_path: Path) -> None:
    slower = replace(made.settings, rows=replace(made.settings.rows, fps=15))
    convert_bags(made.bags, tmp_path / "slow", slower, jobs=1)
    with pytest.raises(DatasetError, match="do not fit: fps is 30 and 15"):
        merge_datasets([made.path, tmp_path / "slow"], tmp_path / "both")
    assert not (tmp_path / "both").exists()
