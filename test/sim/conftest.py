"""Rendering must be headless wherever these tests run."""

import groot_ros.sim  # noqa: F401 - chooses the GL backend before anything imports mujoco
