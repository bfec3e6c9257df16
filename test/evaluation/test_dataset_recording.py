# SPDX-License-Identifier: Apache-2.0
"""Episodes of a data set as recordings: rows are observations, actions are the commands."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.robot_bags import RobotRun
from support.tiny_checkpoint import TAG, write_tiny_checkpoint

from groot_ros.bags.recording import RobotBag
from groot_ros.cli.main import main
from groot_ros.core.share import robot_path
from groot_ros.datasets import DatasetError
from groot_ros.datasets.from_bags import ConversionSettings, convert_bags
from groot_ros.datasets.reader import Dataset
from groot_ros.evaluation.bag_observations import Place
from groot_ros.evaluation.dataset_recording import DatasetRecording, dataset_contract
from groot_ros.observation.spec import ObservationSpec, SyncTolerances
from groot_ros.robot import load_contract

FPS = 30
SPEC = ObservationSpec(("front", "wrist"), ("single_arm", "gripper"))


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A bag, and the data set of it."""
    folder = tmp_path_factory.mktemp("data")
    bag = RobotRun(seconds=3.0).write(folder / "bag")
    settings = ConversionSettings(robot=robot_path("so101"))
    convert_bags([bag], folder / "set", settings, jobs=1)
    return bag, folder / "set"


@pytest.fixture
def recording(paths: tuple[Path, Path]) -> DatasetRecording:
    dataset = Dataset(paths[1])
    return DatasetRecording(dataset.episodes[0], dataset_contract(dataset))


def places(recording: DatasetRecording, spec: ObservationSpec = SPEC) -> Iterator[Place]:
    return recording.places(spec, SyncTolerances(), 0.2)


def test_places_are_rows_at_the_interval_with_their_state_and_images(
    recording: DatasetRecording, paths: tuple[Path, Path]
) -> None:
    episode = Dataset(paths[1]).episodes[0]
    found = list(places(recording))
    assert [round(place.since_start * FPS) for place in found] == list(range(0, episode.length, 6))
    frames = list(episode.frames("front"))
    for place in found:
        row = round(place.since_start * FPS)
        assert place.observation is not None
        np.testing.assert_array_equal(place.observation.images["front"][0], frames[row])
        assert place.observation.instruction == "touch the red cube"
        arm = recording.contract.state_to_si("single_arm", episode.group("state", "single_arm"))
        np.testing.assert_array_equal(place.observation.state["single_arm"][0], arm[row])


def test_a_history_takes_earlier_rows_and_the_first_places_lack(
    recording: DatasetRecording, paths: tuple[Path, Path]
) -> None:
    frames = list(Dataset(paths[1]).episodes[0].frames("wrist"))
    spec = replace(SPEC, image_deltas=(-8, 0), state_deltas=(-1, 0))
    found = list(places(recording, spec))
    assert [place.reason for place in found[:3]] == ["missing_history", "missing_history", ""]
    observation = found[2].observation
    assert observation is not None
    np.testing.assert_array_equal(observation.images["wrist"], [frames[4], frames[12]])
    assert observation.state["gripper"].shape == (2, 1)


def test_the_reference_is_the_command_that_was_in_force_in_the_bag(
    recording: DatasetRecording, paths: tuple[Path, Path]
) -> None:
    found = [place.observation for place in places(recording)]
    assert recording.references(("elbow_flex", "none"), "auto") == {"elbow_flex": "action"}
    bag = RobotBag(paths[0], load_contract(robot_path("so101"))).read()
    stamps = np.array([o.stamp_ns for o in found if o is not None])
    commands = recording.reference("elbow_flex", "action", stamps)
    # The first row of the data set is one of the first images of the bag.
    errors = []
    for first in bag.images["front"].stamps_ns[:20]:
        expected = bag.commands.at("elbow_flex", stamps - stamps[0] + first)
        errors.append(np.abs(commands - expected).max())
    assert np.nanmin(errors) < 1e-5
    np.testing.assert_array_equal(recording.last_action("elbow_flex", stamps), commands)
    beyond = recording.reference("elbow_flex", "action", stamps[-1:] + 10**10)
    assert np.isnan(beyond).all()


def test_a_data_set_of_another_rate_than_the_actions_is_an_error(
    paths: tuple[Path, Path],
) -> None:
    dataset = Dataset(paths[1])
    slower = replace(dataset_contract(dataset), action_dt=0.1)
    with pytest.raises(DatasetError, match=r"30 rows per second, but an action .* lasts 0\.1 s"):
        DatasetRecording(dataset.episodes[0], slower)


def test_the_command_evaluates_a_data_set_with_the_contract_in_it(
    paths: tuple[Path, Path], tmp_path: Path
) -> None:
    checkpoint = str(write_tiny_checkpoint(tmp_path / "checkpoint"))
    options = ["--checkpoint", checkpoint, "--embodiment", TAG, "--device", "cpu", "--seeds", "1"]
    out = ["--out", str(tmp_path / "out"), "--threads", "1"]
    assert main(["evaluate", str(paths[1]), *options, *out]) == 0
    result = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    (episode,) = result["policies"][0]["episodes"]
    assert episode["name"] == "set/0"
    assert episode["recorded_chunks"] is None
    assert {own["reference"] for own in result["policies"][0]["joints"].values()} == {"action"}
