# SPDX-License-Identifier: Apache-2.0
"""JSON schema of the robot contract, for editors: `python -m groot_ros.robot.schema` writes it.

It describes keys, types and ranges. What depends on several keys is checked only by the reader.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from groot_ros.core.config_reader import Fields
from groot_ros.core.share import share_directory
from groot_ros.robot.contract import MAX_ACTION_DT, MAX_JOINTS, MIN_ACTION_DT, VERSION
from groot_ros.robot.controller import INTERPOLATIONS, controller_type, controller_types
from groot_ros.robot.fields import TOPIC_NAME, ContractError
from groot_ros.robot.inputs import LABEL_ENCODINGS, MAX_LATENCY, MOUNTS, STAMPS
from groot_ros.robot.joint import (
    ACCELERATION_RANGE,
    JERK_RANGE,
    NAMED_SCALES,
    VELOCITY_RANGE,
    GripperEnds,
    Joint,
    JointLimits,
    UnitMap,
)
from groot_ros.robot.outputs import MAP_TYPES, MAX_COLUMNS
from groot_ros.robot.speed_scaling import TYPES
from groot_ros.robot.table import HEIGHT_RANGE, MAX_DISTANCE, MIN_APPROACH, TOOL_AXES
from groot_ros.vision.encodings import ENCODING_NAMES

_Schema = dict[str, Any]
_NAME: _Schema = {"type": "string", "minLength": 1}
_NAMES: _Schema = {"type": "array", "items": _NAME, "minItems": 1, "uniqueItems": True}
_NUMBER: _Schema = {"type": "number"}
_TOPIC: _Schema = {"type": "string", "pattern": f"^{TOPIC_NAME}$"}
_LATENCY: _Schema = {"type": "number", "minimum": 0, "maximum": MAX_LATENCY}
_ENDS: _Schema = {
    "type": "object",
    "properties": {"closed": _NUMBER, "open": _NUMBER},
    "required": ["closed", "open"],
    "additionalProperties": False,
}


def schema_path() -> Path:
    """Return the file of the schema."""
    return share_directory() / "config" / "robots" / "schema.json"


def contract_schema() -> _Schema:
    """Return the schema of a contract of version 2."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Robot contract of groot_ros",
        **_object(
            {
                "version": {"const": VERSION},
                "robot": _NAME,
                "action_dt": _between((MIN_ACTION_DT, MAX_ACTION_DT)),
                "model": _NAME,
                "urdf": _NAME,
                "joint_limits": _NAME,
                "joints": {**_mapping(_joint()), "maxProperties": MAX_JOINTS},
                "inputs": _inputs(),
                "outputs": _mapping({"type": "array", "items": _output(), "minItems": 1}),
                "ignore": {"type": "array", "items": {"pattern": r"^.+\.(\d{1,3}|\*)$"}},
                "cameras": _mapping(_camera()),
                "speed_scaling": _object(
                    {
                        "topic": _TOPIC,
                        "type": {"enum": list(TYPES)},
                        "scale": {"type": "number", "exclusiveMinimum": 0},
                    },
                    "topic",
                ),
                "table": _table(),
                "controllers": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"oneOf": [_controller(kind) for kind in controller_types()]},
                },
            },
            "version robot action_dt joints inputs outputs cameras controllers",
        ),
    }


def _object(properties: Mapping[str, _Schema], required: str = "") -> _Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": required.split(),
        "additionalProperties": False,
    }


def _mapping(value: _Schema) -> _Schema:
    """Return the schema of a mapping whose keys are names chosen by the user."""
    return {"type": "object", "additionalProperties": value, "minProperties": 1}


def _between(limits: tuple[float, float]) -> _Schema:
    return {"type": "number", "minimum": limits[0], "maximum": limits[1]}


def _joint() -> _Schema:
    units = sorted({unit for scales in NAMED_SCALES.values() for unit in scales})
    named: _Schema = {"enum": units}
    linear = _object(
        {
            "unit": named,
            "scale": {"type": "number", "exclusiveMinimum": 0},
            "sign": {"enum": [1, -1]},
            "offset": _NUMBER,
        }
    )
    unit: _Schema = {"anyOf": [named, linear, _ENDS]}
    limits = _object(
        {
            "position": {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2},
            "velocity": _between(VELOCITY_RANGE),
            "acceleration": _between(ACCELERATION_RANGE),
            "jerk": _between(JERK_RANGE),
        },
        "velocity acceleration",
    )
    return _object(
        {
            "type": {"enum": list(NAMED_SCALES)},
            "limits": limits,
            "gripper": {"anyOf": [{"type": "boolean"}, _ENDS]},
            "unit_in": unit,
            "unit_out": unit,
        },
        "limits",
    )


def _inputs() -> _Schema:
    source = _object(
        {
            "topic": _TOPIC,
            "stamp": {"enum": list(STAMPS)},
            "latency": _LATENCY,
            "rate": {"type": "number", "minimum": 0},
            "joints": _NAMES,
        },
        "topic",
    )
    column = _object({"joint": _NAME, "source": _NAME}, "joint")
    groups: _Schema = {
        "type": "object",
        "additionalProperties": {"type": "array", "items": column, "minItems": 1},
    }
    return _object({"sources": _mapping(source), "state": groups}, "sources state")


def _output() -> _Schema:
    column: _Schema = {"type": "integer", "minimum": 0, "maximum": MAX_COLUMNS - 1}
    return _object(
        {
            "controller": _NAME,
            "joints": _NAMES,
            "columns": {"type": "array", "items": column, "minItems": 1, "uniqueItems": True},
            "map": _object(
                {"type": {"enum": list(MAP_TYPES)}, "scale": _NUMBER, "offset": _NUMBER}
            ),
        },
        "controller joints",
    )


def _camera() -> _Schema:
    return _object(
        {
            "topic": _TOPIC,
            "encoding": {"enum": list(ENCODING_NAMES)},
            "stamp": {"enum": list(STAMPS)},
            "latency": _LATENCY,
            "rate": {"type": "number", "exclusiveMinimum": 0},
            "mount": {"enum": list(MOUNTS)},
            "labels": _object(
                {"topic": _TOPIC, "encoding": {"enum": list(LABEL_ENCODINGS)}}, "topic"
            ),
        },
        "topic rate",
    )


def _table() -> _Schema:
    far = _between((-MAX_DISTANCE, MAX_DISTANCE))
    edges: _Schema = {"type": "array", "items": far, "minItems": 2, "maxItems": 2}
    height = _between(HEIGHT_RANGE)
    return _object(
        {
            "frame": _NAME,
            "x": edges,
            "y": edges,
            "height": far,
            "tool": _NAME,
            "tool_axis": {"enum": list(TOOL_AXES)},
            "symmetric": {"type": "boolean"},
            "approach": _between((MIN_APPROACH, HEIGHT_RANGE[1])),
            "pick_height": height,
            "place_height": height,
            "push_height": height,
        },
        "x y tool approach pick_height",
    )


def _controller(kind: str) -> _Schema:
    """Return the schema of one controller type; its own keys are those that its reader asks for."""
    own = controller_type(kind)
    options = Fields({}, kind, error_type=ContractError, strict=True)
    ends = GripperEnds(0.0, 1.0)
    joint = Joint("a", "revolute", JointLimits(0.0, 1.0, 1.0, 1.0), ends, UnitMap(), UnitMap())
    own.read_options(options, [joint])
    properties: dict[str, _Schema] = {
        "name": _NAME,
        "type": {"const": kind},
        own.topic_key: _TOPIC,
        "joints": _NAMES,
        "interpolation": {"enum": list(INTERPOLATIONS)},
        **{key: _NUMBER for key in options.requested},
    }
    default = "joint_trajectory_controller"
    return _object(properties, "name joints" if kind == default else "name type joints")


def schema_text() -> str:
    """Return the text of the schema file."""
    return json.dumps(contract_schema(), indent=1) + "\n"


if __name__ == "__main__":
    schema_path().write_text(schema_text(), encoding="utf-8")
    print(f"wrote {schema_path()}")
