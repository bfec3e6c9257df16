# SPDX-License-Identifier: Apache-2.0
"""Rendering without a display, torch on one thread, and a tiny run to be trained."""

from support.torch_threads import one_thread
from support.training_run import base, data, settings

import groot_ros.sim  # noqa: F401 - selects the rendering backend before anything imports mujoco

__all__ = ["base", "data", "one_thread", "settings"]
