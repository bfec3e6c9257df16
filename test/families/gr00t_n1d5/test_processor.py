# SPDX-License-Identifier: Apache-2.0
"""N1.5's processor: data configurations, prompts, images, and malformed files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.tiny_n1d5 import ARMS, HORIZON, TAG, write_tiny_n1d5

from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.gr00t_n1d5.checkpoint import open_checkpoint
from groot_ros.families.gr00t_n1d5.data_config import BUILTIN, choose_data_config
from groot_ros.families.gr00t_n1d5.images import ImagePreparation
from groot_ros.families.gr00t_n1d5.metadata import METADATA, lerobot_layout, read_metadata
from groot_ros.families.gr00t_n1d5.processor import prompt_text
from groot_ros.families.gr00t_n1d5.rotations import WIDTHS, convert


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_n1d5(tmp_path_factory.mktemp("written"))


@pytest.fixture
def checkpoint(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "checkpoint"))


def edit_metadata(checkpoint: Path, edit) -> None:
    path = checkpoint / METADATA
    metadata = json.loads(path.read_text())
    edit(metadata[TAG])
    path.write_text(json.dumps(metadata))


@pytest.mark.parametrize("name", BUILTIN)
def test_a_published_data_configuration_is_found_by_its_views_and_groups(
    tmp_path: Path, name: str
) -> None:
    config = BUILTIN[name]
    found = choose_data_config(tmp_path, TAG, config.video, config.state, config.action, {})
    assert found == config


def test_other_groups_are_used_in_their_order_and_binary_ones_are_not_scaled(
    checkpoint: Path,
) -> None:
    (checkpoint / METADATA.parent / "data_config.json").unlink()

    def edit(entry: dict) -> None:
        entry["modalities"]["action"]["left_hand"]["continuous"] = False

    edit_metadata(checkpoint, edit)
    layout = read_metadata(checkpoint, TAG)
    assert [group.name for group in layout.action] == list(ARMS)
    assert [group.scheme.mode for group in layout.action] == [
        "min_max",
        "min_max",
        "binary",
        "min_max",
    ]


def test_the_file_of_a_data_configuration_sets_order_and_normalisation(checkpoint: Path) -> None:
    path = checkpoint / METADATA.parent / "data_config.json"
    given = {"video": ["wrist"], "state": ["right_arm"], "action": ["right_hand", "left_arm"]}
    path.write_text(json.dumps({**given, "action_modes": {"left_arm": "q99"}, "crop": 0.8}))
    spec = open_checkpoint(checkpoint, TAG).spec
    assert spec.views == ("wrist",)
    assert spec.action_groups == {"right_hand": 1, "left_arm": 7}
    assert [r.normalisation for r in spec.ranges] == ["none", "none", "q01/q99"]
    path.write_text(json.dumps({**given, "action_modes": {"left_leg": "q99"}}))
    with pytest.raises(CheckpointError, match=r"data_config.json.*'left_leg' is not a group"):
        open_checkpoint(checkpoint, TAG)
    path.write_text(json.dumps({**given, "action_modes": {"left_arm": "scale"}}))
    with pytest.raises(CheckpointError, match="'left_arm' cannot be decoded from 'scale'"):
        open_checkpoint(checkpoint, TAG)


def arm(entry: dict) -> dict:
    """Return the statistics of the left arm's state."""
    return entry["statistics"]["state"]["left_arm"]


def described(entry: dict) -> dict:
    """Return the description of the left arm's state."""
    return entry["modalities"]["state"]["left_arm"]


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda e: arm(e).pop("max"), "left_arm: 'max' is missing"),
        (lambda e: e["statistics"]["state"].pop("left_arm"), "state.left_arm: 'min' is missing"),
        (lambda e: e["statistics"].pop("state"), "statistics: 'state' is missing"),
        (lambda e: e.pop("statistics"), "'statistics' is missing"),
        (
            lambda e: e["statistics"]["action"]["left_arm"]["min"].__setitem__(2, 9.0),
            "'min' is above 'max' in column 2",
        ),
        (lambda e: arm(e).update(min=[0.0] * 6), "'min' must be 7 finite numbers"),
        (lambda e: arm(e).update(min=[0.0] * 8), "'min' must be 7 finite numbers"),
        (lambda e: arm(e).update(min=[]), "'min' must be 7 finite numbers, not []"),
        (lambda e: arm(e).update(min=["low"] * 7), "'min' must be 7 finite numbers, not ['low'"),
        (lambda e: arm(e).update(min=[None] * 7), "'min' must be 7 finite numbers"),
        (lambda e: arm(e).update(min=-1.0), "'min' must be 7 finite numbers, not -1.0"),
        (lambda e: arm(e).update(min="-1"), "'min' must be 7 finite numbers, not '-1'"),
        (lambda e: arm(e).update(max=[float("nan")] * 7), "'max' must be 7 finite numbers"),
        (lambda e: arm(e).update(max=[float("inf")] * 7), "'max' must be 7 finite numbers"),
        (lambda e: arm(e).update(max=[10**400] * 7), "'max' must be 7 finite numbers"),
        (lambda e: arm(e).update(q01=[float("nan")] * 7), "'q01' must be 7 finite numbers"),
        (lambda e: described(e).update(shape=[]), "'shape' must be sizes from 1"),
        (lambda e: described(e).update(shape=[-7]), "'shape' must be sizes from 1"),
        (lambda e: described(e).update(shape=[2**40]), "'shape' must be sizes from 1 to 1048576"),
        (lambda e: described(e).update(shape=["7"]), "'shape' must be a list of int"),
        (lambda e: described(e).update(continuous="yes"), "'continuous' must be true or false"),
        (lambda e: e["modalities"]["video"].pop("wrist"), "'wrist' is missing"),
        (lambda e: e.update(embodiment_tag="mine"), "'mine', which has no row in the weights"),
        (lambda e: e.update(embodiment_tag=3), "'embodiment_tag' must be a string, not 3"),
    ],
)
def test_malformed_metadata_is_one_line_with_file_and_key(
    checkpoint: Path, edit, problem: str
) -> None:
    edit_metadata(checkpoint, edit)
    assert problem in problem_of(checkpoint, METADATA)


def problem_of(checkpoint: Path, file: Path) -> str:
    """Return the message of the error that opening gives: one line that begins with the file."""
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(checkpoint, TAG)
    assert str(error.value).startswith(str(checkpoint / file))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_numbers_given_as_strings_are_read(checkpoint: Path) -> None:
    before = open_checkpoint(checkpoint, TAG).spec.ranges[0]
    edit_metadata(checkpoint, lambda e: arm(e).update(min=[str(x) for x in arm(e)["min"]]))
    np.testing.assert_array_equal(open_checkpoint(checkpoint, TAG).spec.ranges[0].low, before.low)


@pytest.mark.parametrize("key", ["noise_beta_alpha", "noise_beta_beta", "noise_s"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0.0, "1.5", 10**400])
def test_a_distribution_of_times_that_does_not_exist_is_rejected(
    checkpoint: Path, key: str, value: object
) -> None:
    path = checkpoint / "config.json"
    config = json.loads(path.read_text())
    config["action_head_cfg"][key] = value
    path.write_text(json.dumps(config))
    assert f"action_head_cfg: '{key}' " in problem_of(checkpoint, Path("config.json"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"transforms": ["VideoCrop"]}, "'transforms' is not a key here"),
        ({"state_modes": {"left_arm": "minmax"}}, "'left_arm' must be one of min_max, q99"),
        ({"state_modes": ["min_max"]}, "'state_modes' must be a mapping"),
        ({"state_rotations": {"left_arm": "euler"}}, "'left_arm' must be one of axis_angle"),
        ({"crop": float("nan")}, "'crop' must be greater than 0, not nan"),
        ({"crop": "0.95"}, "'crop' must be a number"),
    ],
)
def test_an_unknown_transform_is_rejected(checkpoint: Path, change: dict, problem: str) -> None:
    file = METADATA.parent / "data_config.json"
    config = json.loads((checkpoint / file).read_text())
    config[TAG] |= change
    (checkpoint / file).write_text(json.dumps(config))
    assert problem in problem_of(checkpoint, file)


def test_a_rotation_must_have_the_columns_of_its_representation(checkpoint: Path) -> None:
    edit_metadata(checkpoint, lambda e: described(e).update(rotation_type="quaternion"))
    file = checkpoint / METADATA.parent / "data_config.json"
    config = json.loads(file.read_text())
    config[TAG]["state_rotations"] = {"left_arm": "rotation_6d"}
    file.write_text(json.dumps(config))
    assert "'shape' is 7 columns, but quaternion has 4" in problem_of(checkpoint, METADATA)


def test_the_digest_covers_metadata_and_data_configuration(checkpoint: Path) -> None:
    before = open_checkpoint(checkpoint, TAG).digest()
    assert open_checkpoint(checkpoint, TAG).digest() == before
    edit_metadata(checkpoint, lambda e: e["statistics"]["state"]["left_arm"].update(min=[-2.0] * 7))
    assert open_checkpoint(checkpoint, TAG).digest() != before


def test_instructions_are_printed_with_brackets_at_inference(checkpoint: Path) -> None:
    layout = read_metadata(checkpoint, TAG)
    assert prompt_text("pick", layout) == "['pick']"
    assert prompt_text("don't", layout) == '["don\'t"]'
    assert prompt_text("pick", layout, training=True) == "pick"
    assert prompt_text("", layout) == "Perform the default behavior."
    formal = lerobot_layout(
        tag=TAG,
        row=0,
        views=("a",),
        widths=(1, 1),
        statistics=({}, {}),
        scaled=(True, True),
        formalise=True,
    )
    assert prompt_text("Pick IT up!", formal) == "['pick it up']"
    assert prompt_text("", formal) == "['perform the task']"


def test_the_crop_is_centred_with_halves_rounded_to_even() -> None:
    image = np.zeros((90, 125, 3), dtype=np.uint8)
    image[2:87, 4:122] = 255
    # Truncation makes 254 of a sum just below 255.
    assert ImagePreparation(28)(image).min() >= 254
    shifted = np.roll(image, -1, axis=1)
    assert ImagePreparation(28)(shifted).min() < 250


def test_the_chains_of_nvidia_and_lerobot_give_different_tiles() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    one, other = (ImagePreparation(28, lerobot=chain)(image) for chain in (False, True))
    assert one.shape == other.shape == (3, 28, 28)
    assert (one != other).mean() > 0.9


@pytest.mark.parametrize("kind", WIDTHS)
def test_rotations_are_converted_back(kind: str) -> None:
    rows = convert(np.random.default_rng(1).normal(size=(50, 4)), "quaternion", "rotation_6d")
    there = convert(rows, "rotation_6d", kind)
    np.testing.assert_allclose(convert(there, kind, "rotation_6d"), rows, atol=1e-9)


def test_actions_are_decoded_to_what_was_encoded(checkpoint: Path) -> None:
    codec = open_checkpoint(checkpoint, TAG).processor.codec
    rng = np.random.default_rng(2)
    given = {group: rng.uniform(-2, 2, (HORIZON, width)) for group, width in ARMS.items()}
    encoded, mask = codec.encode_action(given)
    assert mask.all()
    for group, values in codec.decode_action(encoded).items():
        np.testing.assert_allclose(values, given[group], atol=1e-6)
    with pytest.raises(ValueError, match="'left_arm' has 9 steps, the horizon is 8"):
        codec.encode_action({**given, "left_arm": np.zeros((9, 7))})
