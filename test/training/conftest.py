"""Rendering must be headless, and torch must leave the other core alone."""

import torch

import groot_ros.sim  # noqa: F401 - chooses the GL backend before anything imports mujoco

torch.set_num_threads(1)
