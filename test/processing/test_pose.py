# SPDX-License-Identifier: Apache-2.0
"""Poses relative to a reference and back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from groot_ros.processing import pose

numbers = st.floats(-2.0, 2.0, width=32)


def is_regular(poses: np.ndarray) -> bool:
    """Tell whether the two rows of every pose span a plane."""
    cross = np.cross(poses[..., 3:6], poses[..., 6:9])
    return bool((np.linalg.norm(cross, axis=-1) > 0.1).all())


@given(arrays(np.float64, (4, 9), elements=numbers), arrays(np.float64, 9, elements=numbers))
def test_composing_a_relative_pose_with_its_reference_gives_the_pose(poses, reference) -> None:
    if not (is_regular(poses) and is_regular(reference)):
        return
    clean = pose.from_matrix(pose.to_matrix(poses))
    back = pose.compose(reference, pose.relative_to(reference, poses))
    np.testing.assert_allclose(back, clean, atol=1e-9)


@given(arrays(np.float64, 9, elements=numbers))
def test_the_matrix_of_a_pose_is_a_rotation(one) -> None:
    if not is_regular(one):
        return
    rotation = pose.to_matrix(one)[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.isclose(np.linalg.det(rotation), 1.0)


def test_a_pose_stores_the_rows_of_its_rotation() -> None:
    quarter_turn = np.array([1.0, 2.0, 3.0, 0.0, -1.0, 0.0, 1.0, 0.0, 0.0])
    matrix = pose.to_matrix(quarter_turn)
    assert matrix[:3, :3].tolist() == [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    assert matrix[:3, 3].tolist() == [1, 2, 3]


def test_a_pose_relative_to_itself_is_the_identity() -> None:
    one = np.array([0.3, -0.2, 0.5, 0.6, 0.8, 0.0, -0.8, 0.6, 0.0])
    np.testing.assert_allclose(
        pose.relative_to(one, one[None])[0], [0, 0, 0, 1, 0, 0, 0, 1, 0], atol=1e-12
    )
