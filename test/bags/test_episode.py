# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.bags import BagError
from groot_ros.bags.episode import (
    EPISODE_KEY,
    EpisodeInfo,
    Outcome,
    describe_recording,
    read_episode,
)
from groot_ros.bags.writer import BagWriter
from groot_ros.core.share import robot_path
from groot_ros.robot import ContractError, load_contract

texts = st.text(max_size=30)


@given(
    name=texts, number=st.integers(0, 10**6), instruction=texts, outcome=st.sampled_from(Outcome)
)
def test_every_value_survives_the_text_of_the_bag(name, number, instruction, outcome):
    info = EpisodeInfo(name, number, instruction=instruction, outcome=outcome, versions={"a": "1"})
    assert EpisodeInfo.from_json(info.to_json()) == info
    custom = info.to_custom_data()
    assert EpisodeInfo.from_json(custom) == info
    # `ros2 bag record --custom-data KEY=VALUE` cuts the value at the next "=".
    assert not set(custom) & set('= \\"\n')


def test_the_contract_in_the_bag_is_the_one_of_the_file():
    path = robot_path("so101")
    info = describe_recording(path, "left", use_sim_time=True)
    assert info.robot_contract() == load_contract(path)
    assert info.fingerprint == load_contract(path).fingerprint("left")
    assert (info.namespace, info.use_sim_time) == ("left", True)
    assert info.versions["groot_ros"]


def test_a_bag_without_a_contract_says_how_to_give_one():
    with pytest.raises(BagError, match="give one with --robot"):
        EpisodeInfo().robot_contract()


def test_a_damaged_contract_names_the_bag():
    with pytest.raises(ContractError, match="contract in the bag run1"):
        EpisodeInfo("run1", contract="robot: arm\n").robot_contract()


def test_keys_of_a_later_version_are_ignored():
    values = {**json.loads(EpisodeInfo("run1").to_json()), "weather": "rain"}
    assert EpisodeInfo.from_json(json.dumps(values)) == EpisodeInfo("run1")


@pytest.mark.parametrize("text", ["[]", "x", '{"number": "one"}', '{"outcome": "maybe"}'])
def test_a_damaged_description_is_one_line(text):
    with pytest.raises(BagError, match=r"groot_ros\.episode of the bag is damaged") as error:
        EpisodeInfo.from_json(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("custom", [None, {}, {"other": "x"}])
def test_a_bag_without_a_description_gives_an_empty_one(tmp_path, custom):
    text = yaml.safe_dump({"rosbag2_bagfile_information": {"custom_data": custom}})
    (tmp_path / "metadata.yaml").write_text(text)
    assert read_episode(tmp_path) == EpisodeInfo()


def test_the_description_that_rosbag2_wrote_is_read(tmp_path):
    info = replace(describe_recording(robot_path("so101")), outcome=Outcome.SUCCESS)
    data = {"rosbag2_bagfile_information": {"custom_data": {EPISODE_KEY: info.to_custom_data()}}}
    (tmp_path / "metadata.yaml").write_text(yaml.safe_dump(data))
    assert read_episode(tmp_path) == info


def test_the_last_description_of_a_finished_bag_counts(tmp_path):
    before = describe_recording(robot_path("so101")).started_now("bag", 3)
    writer = BagWriter(tmp_path / "bag", episode=before)
    assert read_episode(tmp_path / "bag") == before
    after = replace(before, outcome=Outcome.FAILURE)
    writer.episode = after
    writer.close()
    assert read_episode(tmp_path / "bag") == after
    assert read_episode(tmp_path / "bag" / "bag.mcap") == after


def test_a_discarded_bag_is_gone(tmp_path):
    writer = BagWriter(tmp_path / "bag", episode=EpisodeInfo("bag"))
    writer.discard()
    assert not (tmp_path / "bag").exists()


def test_a_missing_bag_is_named(tmp_path):
    with pytest.raises(BagError, match=r"there is no bag at .*nowhere"):
        read_episode(tmp_path / "nowhere")
