"""Engine directory of a tiny checkpoint, and policies that run it."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from groot_ros.export.observations import synthetic
from groot_ros.export.pipeline import ExportOptions, export_engine
from groot_ros.policy import Policy, load_policy
from groot_ros.runtime.checkpoint_parts import open_checkpoint
from groot_ros.runtime.manifest import Manifest
from groot_ros.runtime.profile import derive_profile
from support.tiny_checkpoint import TAG, write_tiny_checkpoint

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


def load(checkpoint: Path, engine: str, directory: Path | None = None, **more) -> Policy:
    given = {"device": "cpu", "engine": engine, "engine_directory": directory, **more}
    return load_policy(checkpoint, TAG, **given)


def export(checkpoint: Path, directory: Path, **options) -> Manifest:
    parts = open_checkpoint(checkpoint, TAG)
    plain = load(checkpoint, "plain")
    return export_engine(
        plain,
        parts,
        synthetic(plain, 3, size=(48, 64)),
        "drawn",
        derive_profile(parts.processor, parts.config, [(48, 64)]),
        directory,
        ExportOptions(steps=STEPS, **options),
        lambda what, fraction: None,
        device=torch.device("cpu"),
    )
