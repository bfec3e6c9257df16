# SPDX-License-Identifier: Apache-2.0
"""Columns and files of a LeRobot data set: what `meta/info.json` and `meta/modality.json` say."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray

from groot_ros.datasets import DatasetError
from groot_ros.robot import ContractError, RobotContract
from groot_ros.robot.contract import parse_contract

Format = Literal["v2.1", "v3.0"]
FORMATS: tuple[Format, ...] = ("v2.1", "v3.0")

STATE, ACTION, IMAGES = "observation.state", "action", "observation.images."
#: Columns of this package: ns of the row on the robot's clock, whether a human was in command, and
#: whether the episode succeeded (in its last row).
STAMP, INTERVENTION, SUCCESS = "stamp_ns", "intervention", "next.success"
#: Columns that follow from the position of a row; every data set has them.
INDICES = ("frame_index", "episode_index", "index", "task_index")
DEFAULT_FEATURES: dict[str, dict[str, Any]] = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    **{name: {"dtype": "int64", "shape": [1], "names": None} for name in INDICES},
}
#: File with the robot contract, in meta/.
GROOT_ROS_JSON = "groot_ros.json"
#: Episodes (v2.1) or files (v3.0) in a folder.
CHUNK_SIZE = 1000
_ARROW = {
    "float32": pa.float32(),
    "float64": pa.float64(),
    "int64": pa.int64(),
    "int32": pa.int32(),
    "bool": pa.bool_(),
    "string": pa.string(),
}


@dataclass(frozen=True)
class Description:
    """Properties that all episodes of a data set share.

    Attributes:
        fps: rows per second.
        robot_type: name of the robot.
        features: column or camera -> as in info.json; without DEFAULT_FEATURES.
        modality: content of meta/modality.json; empty if there is none.
        robot: content of meta/groot_ros.json: `contract`, the text of the robot contract;
            `contract_file`, where it was read, which relative paths in it start from;
            `fingerprint`. Empty for data sets of other programs.

    """

    fps: int
    robot_type: str
    features: Mapping[str, Mapping[str, Any]]
    modality: Mapping[str, Any] = field(default_factory=dict)
    robot: Mapping[str, Any] = field(default_factory=dict)

    @property
    def all_features(self) -> dict[str, Mapping[str, Any]]:
        """Return the features with those that every data set has."""
        return {**self.features, **DEFAULT_FEATURES}

    @property
    def cameras(self) -> tuple[str, ...]:
        """Return the names of the video features."""
        return tuple(n for n, feature in self.features.items() if feature["dtype"] == "video")

    @property
    def columns(self) -> dict[str, Mapping[str, Any]]:
        """Return the features that are columns of the rows."""
        return {n: f for n, f in self.all_features.items() if f["dtype"] != "video"}

    def robot_contract(self) -> RobotContract | None:
        """Return the robot contract; None if the data set has none.

        Raises:
            ContractError: it cannot be read, for example because a URDF that it names is missing.

        """
        text, file = self.robot.get("contract"), self.robot.get("contract_file")
        if not text:
            return None
        folder = Path(str(file)).parent if file else None
        where = f"meta/{GROOT_ROS_JSON}"
        try:
            content = yaml.safe_load(str(text))
        except yaml.YAMLError as error:
            problem = " ".join(str(error).split())
            raise ContractError(f"{where}: its contract is damaged: {problem}") from error
        return parse_contract(content, where, folder)

    def difference(self, other: "Description") -> str:
        """Return why episodes of both cannot be in one data set, or an empty string."""
        if self.fps != other.fps:
            return f"fps is {self.fps:g} and {other.fps:g}"
        for name in dict.fromkeys((*self.features, *other.features)):
            first, second = self.features.get(name), other.features.get(name)
            if first is None or second is None:
                return f"only one of them has '{name}'"
            for key in ("dtype", "shape", "names"):
                a, b = first.get(key), second.get(key)
                if a != b:
                    return f"'{name}' has {key} {a} and {b}"
        if self.modality != other.modality:
            return "meta/modality.json differs"
        prints = [str(d.robot.get("fingerprint", "")) for d in (self, other)]
        if all(prints) and prints[0] != prints[1]:
            return f"the robots have the fingerprints {prints[0]} and {prints[1]}"
        return ""


def describe(
    contract: RobotContract,
    robot: Mapping[str, str],
    sizes: Mapping[str, tuple[int, int]],
    fps: int,
    action_widths: Mapping[str, int],
) -> Description:
    """Describe the data set of a robot.

    Args:
        contract: its groups are slices of the columns, in the contract's order.
        robot: content of meta/groot_ros.json.
        sizes: view -> (height, width) of its images.
        fps: rows per second.
        action_widths: action group -> number of its columns.

    """
    features: dict[str, Mapping[str, Any]] = {
        f"{IMAGES}{view}": video_feature(*size, fps) for view, size in sizes.items()
    }
    state = [joint for joints in contract.state_groups.values() for joint in joints]
    features[STATE] = {"dtype": "float32", "shape": [len(state)], "names": state}
    action = [
        name for group, width in action_widths.items() for name in _columns(contract, group, width)
    ]
    features[ACTION] = {"dtype": "float32", "shape": [len(action)], "names": action}
    features[STAMP] = {"dtype": "int64", "shape": [1], "names": None}
    features[INTERVENTION] = {"dtype": "bool", "shape": [1], "names": None}
    features[SUCCESS] = {"dtype": "bool", "shape": [1], "names": None}
    state_widths = {group: len(joints) for group, joints in contract.state_groups.items()}
    modality = {
        "state": _slices(state_widths),
        "action": _slices(action_widths),
        "video": {view: {"original_key": f"{IMAGES}{view}"} for view in sizes},
        "annotation": {"human.task_description": {"original_key": "task_index"}},
    }
    return Description(fps, contract.robot, features, modality, robot)


def video_feature(height: int, width: int, fps: int) -> dict[str, Any]:
    """Return the entry of info.json for a camera."""
    return {
        "dtype": "video",
        "shape": [height, width, 3],
        "names": ["height", "width", "channels"],
        "info": {
            "video.height": height,
            "video.width": width,
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": fps,
            "video.channels": 3,
            "has_audio": False,
        },
    }


def schema(features: Mapping[str, Mapping[str, Any]]) -> pa.Schema:
    """Return the Parquet schema of columns: scalars, and fixed-size lists for vectors.

    Raises:
        DatasetError: a feature has a type or shape that is not supported.

    """
    return pa.schema([(name, _arrow_type(name, feature)) for name, feature in features.items()])


def to_table(columns: Mapping[str, Any], features: Mapping[str, Mapping[str, Any]]) -> pa.Table:
    """Make a table of these columns: arrays [N] or [N, D], or lists of texts."""
    types = schema(features)
    arrays = []
    for own in types:
        values = columns[own.name]
        if pa.types.is_fixed_size_list(own.type):
            flat = np.ascontiguousarray(values).reshape(-1)
            arrays.append(
                pa.FixedSizeListArray.from_arrays(
                    pa.array(flat, own.type.value_type), own.type.list_size
                )
            )
        else:
            arrays.append(pa.array(values, own.type))
    return pa.Table.from_arrays(arrays, schema=types)


def to_array(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return the values [N] or [N, D] of a column of any list type; of texts, objects.

    Raises:
        DatasetError: its rows differ in length.

    """
    kind = column.type
    joined = column.combine_chunks()
    if isinstance(joined, pa.ChunkedArray):
        joined = pa.concat_arrays(joined.chunks) if joined.num_chunks else pa.array([], kind)
    if not (pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)):
        return np.asarray(joined.to_numpy(zero_copy_only=False))
    flat = np.asarray(joined.flatten().to_numpy(zero_copy_only=False))
    rows = len(joined)
    if rows and len(flat) % rows:
        raise DatasetError("the rows of a column differ in length")
    if pa.types.is_list(kind) and rows:
        lengths = np.diff(joined.offsets.to_numpy())
        if (lengths != lengths[0]).any():
            raise DatasetError("the rows of a column differ in length")
    return flat.reshape(rows, -1)


def write_json(path: Path, value: object) -> None:
    """Write a JSON file, indented."""
    path.write_text(json.dumps(value, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")


def write_lines(path: Path, values: Iterable[object]) -> None:
    """Write a file with one JSON text a line."""
    lines = [json.dumps(value, ensure_ascii=False) + "\n" for value in values]
    path.write_text("".join(lines), encoding="utf-8")


def width_of(feature: Mapping[str, Any]) -> int:
    """Return the number of values of a feature in one row."""
    shape: Sequence[int] = feature["shape"]
    return int(np.prod(shape, dtype=np.int64))


def _arrow_type(name: str, feature: Mapping[str, Any]) -> pa.DataType:
    kind = _ARROW.get(feature["dtype"])
    if kind is None or len(feature["shape"]) != 1:
        raise DatasetError(
            f"feature '{name}' has dtype {feature['dtype']} and shape {feature['shape']}; "
            f"supported are {', '.join(_ARROW)} with one dimension"
        )
    width = width_of(feature)
    return kind if width == 1 else pa.list_(kind, width)


def _slices(widths: Mapping[str, int]) -> dict[str, dict[str, int]]:
    slices, start = {}, 0
    for group, width in widths.items():
        slices[group] = {"start": start, "end": start + width}
        start += width
    return slices


def _columns(contract: RobotContract, group: str, width: int) -> list[str]:
    """Name the columns of an action group: by the joint where it has its own column."""
    names = [f"{group}.{column}" for column in range(width)]
    for entry in contract.action_groups[group].maps:
        if entry.columns is not None and len(entry.columns) == len(entry.joints):
            for column, joint in zip(entry.columns, entry.joints, strict=True):
                names[column] = joint
    return names
