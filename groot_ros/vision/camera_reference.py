# SPDX-License-Identifier: Apache-2.0
"""Reference pictures of a robot's cameras: one PNG and one JSON file a camera.

They are stored in a folder named after the fingerprint of the robot contract, so that a reference
of other cameras or of another robot is never compared. A file is written under a temporary name
and renamed; the JSON file, written last, has the digest of the picture.
"""

import hashlib
import io
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from groot_ros.core.config_reader import ConfigError, Fields, unreadable

_VERSION = 1
#: Folder below $XDG_CONFIG_HOME, which is ~/.config by default.
_FOLDER = "groot_ros/cameras"


class CameraReferenceError(ConfigError):
    """A reference cannot be written or read; one line: what, where, and how to fix it."""


@dataclass(frozen=True)
class Intrinsics:
    """Focal lengths of sensor_msgs/CameraInfo in px, for pictures of this width."""

    fx: float
    fy: float
    width: int

    def scaled(self, width: int) -> tuple[float, float]:
        """Return the focal lengths for pictures of another width."""
        factor = width / self.width
        return self.fx * factor, self.fy * factor


@dataclass(frozen=True)
class CameraReference:
    """One reference: picture, pose of the robot and properties of the image.

    Attributes:
        camera: view of the robot contract.
        picture: uint8 RGB [H, W, 3], as the policy receives it.
        joints: joint -> measured position, rad or m.
        stamp_ns: header stamp of the image.
        encoding: of the image message.
        topic: of the image, resolved.
        intrinsics: from CameraInfo; None if it is not published.

    """

    camera: str
    picture: NDArray[np.uint8]
    joints: Mapping[str, float]
    stamp_ns: int
    encoding: str
    topic: str
    intrinsics: Intrinsics | None = None


class ReferenceFolder:
    """References of one robot contract.

    Args:
        directory: parent of the folders of all contracts; empty = the user's configuration.
        fingerprint: of the contract.
        robot: name of the robot.

    """

    def __init__(self, directory: str | Path, fingerprint: str, robot: str) -> None:
        self._parent = Path(directory).expanduser() if directory else default_directory()
        self._fingerprint, self._robot = fingerprint, robot
        self.path = self._parent / fingerprint

    def read(self, camera: str) -> CameraReference | None:
        """Return the reference of a camera; None if none was saved.

        Raises:
            CameraReferenceError: the files are damaged, or of another robot contract.

        """
        description, picture = self._files(camera)
        try:
            if not description.is_file():
                return None
        except OSError as error:  # a directory that must not be searched
            raise unreadable(description, error, CameraReferenceError) from error
        fields = Fields.read(description, syntax="json", error_type=CameraReferenceError)
        fields.integer("version", at_least=1, at_most=_VERSION)
        if fields.name("fingerprint") != self._fingerprint:
            raise CameraReferenceError(
                f"{description}: is a reference of another robot contract and is not used: "
                "save it again with 'groot-ros cameras save'"
            )
        joints = fields.section("joints")
        lens = fields.section("intrinsics") if fields.has("intrinsics") else None
        return CameraReference(
            camera,
            _read_picture(picture, fields.name("sha256")),
            {name: _finite(joints, name) for name in joints.value},
            fields.integer("stamp_ns", at_most=2**63),
            fields.name("encoding"),
            fields.name("topic"),
            None
            if lens is None
            else Intrinsics(
                _finite(lens, "fx", above=0.0),
                _finite(lens, "fy", above=0.0),
                lens.integer("width", at_least=1),
            ),
        )

    def write(self, references: Iterable[CameraReference], *, replace: bool = False) -> None:
        """Write references; with `replace`, existing ones of these cameras are replaced.

        Raises:
            CameraReferenceError: one of the cameras has a reference, and `replace` is False;
                nothing is written.

        """
        references = list(references)
        existing = [r.camera for r in references if self._files(r.camera)[0].exists()]
        if existing and not replace:
            raise CameraReferenceError(
                f"{self.path}: has references of {', '.join(existing)} already: check them with "
                "'groot-ros cameras check', or replace them with --replace"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        for reference in references:
            description, picture = self._files(reference.camera)
            data = _png(reference.picture)
            text = json.dumps(self._description(reference, data), indent=1) + "\n"
            _replace(picture, data)
            _replace(description, text.encode())

    def missing_reason(self) -> str:
        """Return why there is no reference: none was saved, or only for other contracts."""
        others = [
            file.parent.name
            for file in sorted(self._parent.glob("*/*.json"))
            if file.parent != self.path and _robot_of(file) == self._robot
        ]
        if others:
            return (
                f"the references in {self._parent} are of another contract of robot "
                f"{self._robot} (other cameras, topics, joints or namespace: "
                f"{', '.join(dict.fromkeys(others))}, not {self._fingerprint}) and are not used: "
                "save new ones with 'groot-ros cameras save'"
            )
        return f"{self.path} has no references: save them with 'groot-ros cameras save'"

    def _files(self, camera: str) -> tuple[Path, Path]:
        name = quote(camera, safe="")
        return self.path / f"{name}.json", self.path / f"{name}.png"

    def _description(self, reference: CameraReference, data: bytes) -> dict[str, Any]:
        height, width = reference.picture.shape[:2]
        lens = reference.intrinsics
        return {
            "version": _VERSION,
            "robot": self._robot,
            "fingerprint": self._fingerprint,
            "camera": reference.camera,
            "topic": reference.topic,
            "encoding": reference.encoding,
            "width": width,
            "height": height,
            "stamp_ns": reference.stamp_ns,
            "joints": dict(reference.joints),
            **({} if lens is None else {"intrinsics": asdict(lens)}),
            "sha256": hashlib.sha256(data).hexdigest(),
        }


def default_directory() -> Path:
    """Return groot_ros/cameras in the user's configuration; CameraReferenceError without a home."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    try:
        return (Path(base) if base else Path.home() / ".config") / _FOLDER
    except RuntimeError as error:
        raise CameraReferenceError(
            f"camera references: {error}: set camera_reference_directory or HOME"
        ) from error


def pose_difference(
    reference: Mapping[str, float], current: Mapping[str, float], joints: Iterable[str]
) -> tuple[str, float]:
    """Return the joint that differs most from the reference, and by how much, rad or m.

    A joint that one of the poses lacks differs by infinity; without joints the name is empty.
    """
    differences = {
        joint: abs(current[joint] - reference[joint])
        if joint in reference and joint in current
        else math.inf
        for joint in joints
    }
    return max(differences.items(), key=lambda item: item[1], default=("", 0.0))


def _finite(fields: Fields, key: str, *, above: float = -math.inf) -> float:
    value = fields.number(key, above=above)
    if not math.isfinite(value):
        raise fields.error(key, f"must be finite, not {value}")
    return value


def _read_picture(path: Path, digest: str) -> NDArray[np.uint8]:
    remedy = "save it again with 'groot-ros cameras save --replace'"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CameraReferenceError(
            f"{path}: cannot be read ({error.strerror}): {remedy}"
        ) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise CameraReferenceError(f"{path}: is not the picture that was saved: {remedy}")
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, Image.DecompressionBombError) as error:
        raise CameraReferenceError(f"{path}: is not a whole picture: {remedy}") from error


def _png(picture: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "png")
    return file.getvalue()


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that it is either the old one or complete."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _robot_of(description: Path) -> str:
    """Return the robot of a reference; "" for a file that is none."""
    try:
        value = json.loads(description.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(value.get("robot", "")) if isinstance(value, dict) else ""
