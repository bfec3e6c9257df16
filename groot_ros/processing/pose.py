# SPDX-License-Identifier: Apache-2.0
"""End-effector poses as nine numbers: x, y, z and the first two rows of the rotation matrix."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def to_matrix(pose: Array) -> Array:
    """Convert poses [..., 9] to homogeneous matrices [..., 4, 4].

    The two rotation rows are made orthonormal by the Gram-Schmidt process.
    """
    first, second = pose[..., 3:6], pose[..., 6:9]
    row1 = first / np.linalg.norm(first, axis=-1, keepdims=True)
    row2 = second - np.sum(row1 * second, axis=-1, keepdims=True) * row1
    row2 = row2 / np.linalg.norm(row2, axis=-1, keepdims=True)
    matrix = np.zeros((*pose.shape[:-1], 4, 4))
    matrix[..., :3, :3] = np.stack([row1, row2, np.cross(row1, row2)], axis=-2)
    matrix[..., :3, 3] = pose[..., :3]
    matrix[..., 3, 3] = 1.0
    return matrix


def from_matrix(matrix: Array) -> Array:
    """Convert homogeneous matrices [..., 4, 4] to poses [..., 9]."""
    rows = matrix[..., :2, :3].reshape(*matrix.shape[:-2], 6)
    return np.concatenate([matrix[..., :3, 3], rows], axis=-1)


def relative_to(reference: Array, pose: Array) -> Array:
    """Express poses [..., T, 9] in the frame of the reference [..., 9]: inv(T_ref) @ T."""
    frame = to_matrix(reference)[..., None, :, :]
    inverse = np.zeros_like(frame)
    rotation = np.swapaxes(frame[..., :3, :3], -1, -2)
    inverse[..., :3, :3] = rotation
    inverse[..., :3, 3:] = -rotation @ frame[..., :3, 3:]
    inverse[..., 3, 3] = 1.0
    return from_matrix(inverse @ to_matrix(pose))


def compose(reference: Array, relative: Array) -> Array:
    """Apply relative poses [..., T, 9] to the reference [..., 9]: T_ref @ T."""
    return from_matrix(to_matrix(reference)[..., None, :, :] @ to_matrix(relative))
