# SPDX-License-Identifier: Apache-2.0
"""Engine directories as groot_ros 0.1 wrote them (manifest format 1)."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from groot_ros.runtime.manifest import Manifest
from groot_ros.runtime.reference_outputs import REFERENCE_OUTPUTS, ReferenceOutputs

CONDITIONING = ("prefix", "start", "weight", "strength", "clean")


def old_manifest(new: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON of format 1 for that of format 2."""
    names = {"family": "model", "segments": "stages", "reference_sha256": "oracle_sha256"}
    old = {names.get(k, k): value for k, value in new.items() if k != "base_checkpoint"}
    return {**old, "format": 1, "attention": {"math": "by_hand"}.get(new["attention"], "fused")}


def old_reference_outputs(stored: ReferenceOutputs) -> bytes:
    """Return the content of the file of the first version."""
    arrays: dict[str, NDArray] = {}
    for number, one in enumerate(stored.cases):
        for name, array in one.inputs.items():
            arrays[f"{number}.{f'prefix.{name}' if name in CONDITIONING else name}"] = array
        for group, values in one.state.items():
            arrays[f"{number}.group.{group}"] = values
        for steps, outputs in one.outputs.items():
            arrays[f"{number}.actions.{steps}"] = outputs["next_actions"]
    text = json.dumps({"source": stored.source, "cases": len(stored.cases)})
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save(contiguous, metadata={"groot_ros": text})


def convert_to_version_0_1(directory: Path) -> None:
    """Rewrite manifest and reference outputs of an engine directory."""
    path = directory / "manifest.json"
    data = old_reference_outputs(ReferenceOutputs.load(directory, Manifest.read(directory)))
    (directory / "oracle.safetensors").write_bytes(data)
    (directory / REFERENCE_OUTPUTS).unlink()
    new = json.loads(path.read_text())
    new["reference_sha256"] = hashlib.sha256(data).hexdigest()
    path.write_text(json.dumps(old_manifest(new)))
