# SPDX-License-Identifier: Apache-2.0
"""Chooses a rendering backend that needs no display before any test imports mujoco."""

import groot_ros.sim  # noqa: F401
