# SPDX-License-Identifier: Apache-2.0
"""Engine directory of a tiny checkpoint, and policies that run it."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from groot_ros.export.export_engine import ExportOptions, export_engine
from groot_ros.export.reference_cases import synthetic_observations
from groot_ros.families.gr00t_n1d6.checkpoint import open_checkpoint
from groot_ros.policy import Policy, load_policy
from groot_ros.policy.loading import LoadProgress
from groot_ros.runtime.manifest import Manifest
from support.tiny_checkpoint import TAG, write_tiny_checkpoint
from support.tiny_policy import policy_config

#: Numbers of denoising steps with stored reference outputs.
STEPS = (4, 3)


def write_sensitive_checkpoint(directory: Path) -> Path:
    """Write a tiny checkpoint whose actions depend on every layer; return the directory.

    The initial weights of the embodiments are an order of magnitude too small for that.
    """
    write_tiny_checkpoint(directory)
    path = directory / "model.safetensors"
    tensors = load_file(path)
    for name in tensors:
        if name.endswith(".W"):
            tensors[name] = 12.0 * tensors[name]
    save_file(tensors, path, metadata={"format": "pt"})
    return directory


def load(
    checkpoint: Path,
    engine: str,
    directory: Path | str = "",
    progress: LoadProgress = lambda stage, fraction: None,
    **fields: Any,
) -> Policy:
    """Load a policy on the CPU; `fields` as in `PolicyConfig`."""
    config = policy_config(checkpoint, engine=engine, engine_directory=str(directory), **fields)
    return load_policy(config, progress=progress)


def export(checkpoint: Path, directory: Path, **options: Any) -> Manifest:
    """Export with three drawn observations; `options` as in `ExportOptions`."""
    reference = load(checkpoint, "reference")
    return export_engine(
        reference,
        synthetic_observations(reference, 3, size=(48, 64)),
        "drawn",
        open_checkpoint(checkpoint, TAG).profile([(48, 64)], 64),
        directory,
        ExportOptions(steps=STEPS, **options),
        lambda what, fraction: None,
        device=torch.device("cpu"),
    )
