# SPDX-License-Identifier: Apache-2.0
"""Files of a checkpoint that is another one, prepared for the data of a training run."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from groot_ros.checkpoint.locate import tokenizer_files
from groot_ros.checkpoint.weights import write_json

_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")


def link_weights(source: Path, out: Path) -> None:
    """Link the weight files of a checkpoint into a directory, which replaces older links."""
    for pattern in _WEIGHTS:
        for file in source.glob(pattern):
            link = out / file.name
            link.unlink(missing_ok=True)
            link.symlink_to(file.resolve())


def copy_tokenizer(tokenizer: Path, out: Path) -> None:
    """Copy the files of a tokenizer."""
    for file in tokenizer_files(tokenizer):
        shutil.copyfile(file, out / file.name)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that was checked before."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_config(source: Path, out: Path, changes: Mapping[str, Any]) -> None:
    """Write config.json of the source with new values of keys that it, or a section of it, has.

    Keys that do not exist anywhere are added at the top.

    Args:
        source: config.json.
        out: directory to write to.
        changes: key -> value.

    """
    stored = read_json(source)
    for key, value in changes.items():
        sections = [stored, *(s for s in stored.values() if isinstance(s, dict))]
        owner = next((section for section in sections if key in section), stored)
        owner[key] = value
    write_json(out / "config.json", stored)
