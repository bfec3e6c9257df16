# SPDX-License-Identifier: Apache-2.0
"""Reference pictures on disk: what is written is read back, and nothing else is used."""

import hashlib
import json
import math

import numpy as np
import pytest

from groot_ros.vision.camera_reference import (
    CameraReference,
    CameraReferenceError,
    Intrinsics,
    ReferenceFolder,
    default_directory,
    pose_difference,
)

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
STAMP = 1_800_000_000_123_456_789


def reference(camera="front", lens=None):
    return CameraReference(
        camera, PICTURE, {"lift": -0.8, "pan": 0.125}, STAMP, "jpeg", "/front/image_raw", lens
    )


@pytest.fixture
def folder(tmp_path):
    return ReferenceFolder(tmp_path, "0123456789ab", "so101")


@pytest.mark.parametrize("lens", [None, Intrinsics(612.5, 613.0, 640)])
def test_a_reference_is_read_as_it_was_written(folder, lens):
    folder.write([reference("observation.images/front", lens)])
    found = folder.read("observation.images/front")
    assert np.array_equal(found.picture, PICTURE)
    assert found.joints == {"lift": -0.8, "pan": 0.125}
    assert (found.stamp_ns, found.encoding, found.topic) == (STAMP, "jpeg", "/front/image_raw")
    assert found.intrinsics == lens
    assert {path.parent for path in folder.path.iterdir()} == {folder.path}
    assert len(list(folder.path.iterdir())) == 2


@pytest.mark.parametrize("data", [b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_picture_is_reported_although_its_digest_is_right(folder, data):
    folder.write([reference()])
    (folder.path / "front.png").write_bytes(data)
    description = folder.path / "front.json"
    values = json.loads(description.read_text())
    values["sha256"] = hashlib.sha256(data).hexdigest()
    description.write_text(json.dumps(values))
    with pytest.raises(CameraReferenceError, match=r"front\.png: is not a whole picture: save"):
        folder.read("front")


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("joints", {"lift": math.nan}, "'lift' must be finite"),
        ("intrinsics", {"fx": math.inf, "fy": 1.0, "width": 640}, "'fx' must be finite"),
    ],
)
def test_a_reference_with_a_number_that_is_not_finite_is_reported(folder, key, value, named):
    folder.write([reference()])
    description = folder.path / "front.json"
    description.write_text(json.dumps({**json.loads(description.read_text()), key: value}))
    with pytest.raises(CameraReferenceError, match=named):
        folder.read("front")


def test_a_camera_without_a_reference_has_none(folder):
    assert folder.read("front") is None
    assert "save them with" in folder.missing_reason()


def test_existing_references_are_replaced_only_on_request(folder):
    folder.write([reference("front")])
    with pytest.raises(CameraReferenceError, match="has references of front already"):
        folder.write([reference("wrist"), reference("front")])
    assert folder.read("wrist") is None
    folder.write([reference("wrist"), reference("front")], replace=True)
    assert folder.read("wrist") is not None


def test_a_picture_of_another_save_is_not_used(folder):
    folder.write([reference()])
    (folder.path / "front.png").write_bytes(b"something else")
    with pytest.raises(CameraReferenceError, match="not the picture that was saved"):
        folder.read("front")
    (folder.path / "front.png").unlink()
    with pytest.raises(CameraReferenceError, match=r"front\.png: cannot be read"):
        folder.read("front")


def test_a_damaged_description_names_its_file(folder):
    folder.write([reference()])
    (folder.path / "front.json").write_text("{")
    with pytest.raises(CameraReferenceError, match=r"front\.json: is not valid JSON"):
        folder.read("front")


def test_a_reference_of_another_contract_is_not_used_and_that_is_said(folder, tmp_path):
    folder.write([reference()])
    other = ReferenceFolder(tmp_path, "ba9876543210", "so101")
    assert other.read("front") is None
    reason = other.missing_reason()
    assert "another contract of robot so101" in reason
    assert "0123456789ab, not ba9876543210" in reason
    folder.path.rename(other.path)
    with pytest.raises(CameraReferenceError, match="of another robot contract and is not used"):
        other.read("front")


def test_references_of_other_robots_are_not_mentioned(folder, tmp_path):
    folder.write([reference()])
    other = ReferenceFolder(tmp_path, "ba9876543210", "ur5e")
    assert "another contract" not in other.missing_reason()


def test_a_failed_write_leaves_the_old_reference(folder, monkeypatch):
    folder.write([reference()])
    before = (folder.path / "front.json").read_bytes()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        folder.write([reference()], replace=True)
    assert (folder.path / "front.json").read_bytes() == before
    assert len(list(folder.path.iterdir())) == 2
    assert folder.read("front") is not None


def test_the_default_directory_is_the_users_configuration(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_directory() == tmp_path / ".config" / "groot_ros" / "cameras"
    monkeypatch.setenv("XDG_CONFIG_HOME", "/etc/robot")
    assert str(default_directory()) == "/etc/robot/groot_ros/cameras"


def test_the_pose_difference_is_that_of_the_joint_that_differs_most():
    saved, now = {"a": 0.0, "b": 1.0}, {"a": 0.1, "b": 0.7}
    assert pose_difference(saved, now, ("a", "b")) == ("b", pytest.approx(0.3))
    assert pose_difference(saved, {"a": 0.0}, ("a", "b")) == ("b", math.inf)
    assert pose_difference(saved, now, ()) == ("", 0.0)


def test_the_description_can_be_read_by_people(folder):
    folder.write([reference(lens=Intrinsics(600.0, 600.0, 30))])
    value = json.loads((folder.path / "front.json").read_text())
    assert (value["robot"], value["width"], value["height"]) == ("so101", 30, 20)
