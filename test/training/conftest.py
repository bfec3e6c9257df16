# SPDX-License-Identifier: Apache-2.0
"""Rendering without a display, and torch on one thread."""

from support.torch_threads import one_thread

import groot_ros.sim  # noqa: F401 - selects the rendering backend before anything imports mujoco

__all__ = ["one_thread"]
