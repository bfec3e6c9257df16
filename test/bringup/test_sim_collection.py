# SPDX-License-Identifier: Apache-2.0
"""`groot-ros sim collect --bags`: the command, its end by Ctrl-C, and wrong usage."""

import signal
import subprocess
import sys

import pytest

from groot_ros.bags.episode import Outcome, read_episode
from groot_ros.bringup.sim_collection import collect_bags
from groot_ros.cli.main import main
from groot_ros.datasets.from_bags import ConversionSettings, convert_bags
from groot_ros.rollout.collect import CollectSettings, simulate_episode
from groot_ros.sim.disturbance import UNDISTURBED
from groot_ros.sim.tasks import load_table_task

OPTIONS = ["sim", "collect", "--task", "reach", "--size", "32x32", "--bags", "--calm"]


@pytest.mark.ros
@pytest.mark.slow
def test_ctrl_c_leaves_only_the_bags_of_complete_episodes(tmp_path):
    out = tmp_path / "bags"
    command = [sys.executable, "-m", "groot_ros.cli", *OPTIONS, "--episodes", "9"]
    with subprocess.Popen(
        [*command, "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stderr.readline() == "recording reach 1/9\n"
        run.send_signal(signal.SIGINT)
        shown, _ = run.communicate(timeout=60)
    assert run.returncode == 130
    bags = sorted(out.iterdir())
    settings = CollectSettings("reach", size=(32, 32), disturbances=UNDISTURBED)
    task = load_table_task("reach")
    direct = [simulate_episode(task, index, 0, settings) for index in range(len(bags))]
    infos = [read_episode(bag) for bag in bags]
    assert [info.outcome for info in infos] == [Outcome.SUCCESS] * len(bags)
    assert [info.instruction for info in infos] == [episode.instruction for episode in direct]
    rows = [len(episode.states) for episode in direct]
    assert shown.startswith(f"{out}: stopped; {len(bags)} bag")
    assert f", {sum(rows)} rows; the expert failed in 0 scenes" in shown
    converted = convert_bags(bags, tmp_path / "data", ConversionSettings(), jobs=1)
    assert [episode.length for episode in converted.episodes] == rows


def test_an_existing_folder_is_an_error(tmp_path, capsys):
    assert main([*OPTIONS, "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"groot-ros sim: {tmp_path} already exists: choose another directory, or move it\n"
    )


@pytest.mark.parametrize("option", ["--checkpoint=x", "--jobs=2", "--dask=tcp://host:1"])
def test_options_of_other_ways_to_collect_are_an_error(tmp_path, capsys, option):
    assert main([*OPTIONS, "--out", str(tmp_path / "bags"), option]) == 2
    assert f"{option.partition('=')[0]}: with --bags the expert" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_tasks_with_pictures_are_not_recorded_into_bags(tmp_path, capsys):
    options = ["sim", "collect", "--task", "vima/rotate", "--bags", "--out", str(tmp_path / "b")]
    assert main(options) == 2
    assert "--bags: task vima/rotate has no such option" in capsys.readouterr().err


def test_a_folder_without_a_bag_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("groot_ros.bringup.sim_collection.run_stepped", fail)
    with pytest.raises(RuntimeError, match="expert_node died"):
        collect_bags(CollectSettings("reach"), 1, tmp_path / "bags")
    assert list(tmp_path.iterdir()) == []


def fail(*_: object) -> None:
    raise RuntimeError("expert_node died (exit status 1)")
