# SPDX-License-Identifier: Apache-2.0
"""Representations of rotations in states and actions, converted through rotation matrices.

Quaternions are (w, x, y, z); six numbers are the first two rows of the matrix; euler angles are
intrinsic about the named axes, so "euler_angles_rpy" is Rx(r) Ry(p) Rz(y).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Smallest angle, rad, that is divided by; below it the series of the sine is used.
_SMALL = 1e-6
#: Representation -> (columns, lower and upper bound used for normalisation).
WIDTHS = {
    "axis_angle": (3, np.pi),
    "quaternion": (4, 1.0),
    "rotation_6d": (6, 1.0),
    "euler_angles_rpy": (3, np.pi),
    "euler_angles_ryp": (3, np.pi),
    "euler_angles_pry": (3, np.pi),
    "euler_angles_pyr": (3, np.pi),
    "euler_angles_yrp": (3, np.pi),
    "euler_angles_ypr": (3, np.pi),
}
_AXES = {"r": 0, "p": 1, "y": 2}


def width(kind: str) -> int:
    """Return the number of columns of a representation."""
    return WIDTHS[kind][0]


def bound(kind: str) -> float:
    """Return the largest value of a column."""
    return WIDTHS[kind][1]


def convert(values: Array, source: str, target: str) -> Array:
    """Convert rotations [..., n] between representations named in `WIDTHS`, [..., m]."""
    return _from_matrix(target)(_to_matrix(source)(np.asarray(values, dtype=np.float64)))


def _to_matrix(kind: str) -> Callable[[Array], Array]:
    if kind.startswith("euler_angles_"):
        axes = [_AXES[letter] for letter in kind.removeprefix("euler_angles_")]
        return lambda v: _matrix_of_euler(v, axes)
    return {
        "axis_angle": _matrix_of_axis_angle,
        "quaternion": _matrix_of_quaternion,
        "rotation_6d": _matrix_of_rows,
    }[kind]


def _from_matrix(kind: str) -> Callable[[Array], Array]:
    if kind.startswith("euler_angles_"):
        axes = [_AXES[letter] for letter in kind.removeprefix("euler_angles_")]
        return lambda m: _euler_of_matrix(m, axes)
    return {
        "axis_angle": lambda m: _axis_angle_of_quaternion(_quaternion_of_matrix(m)),
        "quaternion": _quaternion_of_matrix,
        "rotation_6d": lambda m: m[..., :2, :].reshape(*m.shape[:-2], 6),
    }[kind]


def _matrix_of_quaternion(q: Array) -> Array:
    w, x, y, z = np.moveaxis(q, -1, 0)
    s = 2.0 / (q * q).sum(-1)
    rows = [
        [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
        [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
        [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def _matrix_of_axis_angle(v: Array) -> Array:
    angle = np.linalg.norm(v, axis=-1, keepdims=True)
    small = angle < _SMALL
    ratio = np.where(small, 0.5 - angle**2 / 48, np.sin(angle / 2) / np.where(small, 1.0, angle))
    return _matrix_of_quaternion(np.concatenate([np.cos(angle / 2), v * ratio], axis=-1))


def _matrix_of_rows(rows: Array) -> Array:
    first, second = rows[..., :3], rows[..., 3:]
    one = first / np.linalg.norm(first, axis=-1, keepdims=True)
    two = second - (one * second).sum(-1, keepdims=True) * one
    two = two / np.linalg.norm(two, axis=-1, keepdims=True)
    return np.stack([one, two, np.cross(one, two)], axis=-2)


def _about(axis: int, angle: Array) -> Array:
    matrix = np.zeros((*angle.shape, 3, 3))
    one, two = (axis + 1) % 3, (axis + 2) % 3
    matrix[..., axis, axis] = 1.0
    matrix[..., one, one] = matrix[..., two, two] = np.cos(angle)
    matrix[..., two, one], matrix[..., one, two] = np.sin(angle), -np.sin(angle)
    return matrix


def _matrix_of_euler(angles: Array, axes: list[int]) -> Array:
    one, two, three = (_about(axis, angles[..., i]) for i, axis in enumerate(axes))
    return one @ two @ three


def _euler_of_matrix(m: Array, axes: list[int]) -> Array:
    i, j, k = axes
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    middle = np.arcsin(np.clip(sign * m[..., i, k], -1.0, 1.0))
    first = np.arctan2(-sign * m[..., j, k], m[..., k, k])
    last = np.arctan2(-sign * m[..., i, j], m[..., i, i])
    return np.stack([first, middle, last], axis=-1)


def _quaternion_of_matrix(m: Array) -> Array:
    """Return unit quaternions with w >= 0, from the best conditioned of four formulas."""
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    size = np.sqrt(
        np.maximum(
            0.0,
            np.stack([1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], -1),
        )
    )
    w, x, y, z = np.moveaxis(size**2, -1, 0)
    a, b, c = m[..., 2, 1], m[..., 0, 2], m[..., 1, 0]
    d, e, f = m[..., 1, 2], m[..., 2, 0], m[..., 0, 1]
    candidates = np.stack(
        [
            np.stack([w, a - d, b - e, c - f], -1),
            np.stack([a - d, x, c + f, b + e], -1),
            np.stack([b - e, c + f, y, a + d], -1),
            np.stack([c - f, b + e, a + d, z], -1),
        ],
        -2,
    )
    best = size.argmax(-1)[..., None]
    chosen = np.take_along_axis(candidates, best[..., None], axis=-2)[..., 0, :]
    found = chosen / (2.0 * np.take_along_axis(size, best, axis=-1))
    return np.where(found[..., :1] < 0, -found, found)


def _axis_angle_of_quaternion(q: Array) -> Array:
    length = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    half = np.arctan2(length, q[..., :1])
    small = np.abs(2 * half) < _SMALL
    ratio = np.where(
        small, 0.5 - (2 * half) ** 2 / 48, np.sin(half) / np.where(small, 1.0, 2 * half)
    )
    return q[..., 1:] / ratio
