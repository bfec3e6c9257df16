# SPDX-License-Identifier: Apache-2.0
"""Find the model family of a checkpoint.

To add a family to this package, add an entry to `BUILTIN`. Other packages register theirs in the
entry point group `groot_ros.families`; the value names a module with an attribute `FAMILY`.
"""

import importlib
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from groot_ros.checkpoint.mistakes import checkpoint_mistake
from groot_ros.core.config_reader import CheckpointError, Fields
from groot_ros.families.family import Family

#: Name -> module with an attribute `FAMILY`, imported only when a checkpoint is looked up.
BUILTIN = {
    "gr00t_n1d5": "groot_ros.families.gr00t_n1d5",
    "gr00t_n1d6": "groot_ros.families.gr00t_n1d6",
    "vima": "groot_ros.families.vima",
}
#: Family of the demo checkpoint and of the benchmarks.
DEFAULT = "gr00t_n1d6"
ENTRY_POINTS = "groot_ros.families"


def family_names() -> tuple[str, ...]:
    """Return the names of all families, including those of other packages."""
    return tuple(dict.fromkeys((*BUILTIN, *(e.name for e in entry_points(group=ENTRY_POINTS)))))


@cache
def get_family(name: str = DEFAULT) -> Family:
    """Import and return a family.

    Raises:
        ValueError: there is no family of this name, or its module cannot be imported.

    """
    if name in BUILTIN:
        return importlib.import_module(BUILTIN[name]).FAMILY
    for entry in entry_points(group=ENTRY_POINTS):
        if entry.name == name:
            try:
                return entry.load().FAMILY
            except (ImportError, AttributeError) as error:
                raise ValueError(
                    f"model family '{name}' ({entry.value}) does not load: {error}; reinstall or "
                    "remove the package that registers it"
                ) from error
    raise ValueError(f"model family must be one of {', '.join(family_names())}, not '{name}'")


def find_family(path: Path) -> Family:
    """Return the family whose checkpoint this is, from file names and JSON files only.

    Args:
        path: directory or file of a checkpoint.

    Raises:
        CheckpointError: no family, or more than one, recognises it, or config.json is malformed.

    """
    families = [get_family(name) for name in family_names()]
    found = [family for family in families if family.matches(path)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(family.name for family in found)
        raise CheckpointError(f"{path}: several model families recognise it: {names}")
    described = _described(path)
    mistake = checkpoint_mistake(path)
    if mistake and described == str(path):
        raise CheckpointError(f"{path}: {mistake}")
    expected = "; ".join(f"{family.name}: {family.recognised_by}" for family in families)
    raise CheckpointError(f"{described}: no model family recognises it; looked for {expected}")


def _described(path: Path) -> str:
    """Return a checkpoint and its model type as text.

    Raises CheckpointError for a malformed config.json.
    """
    config = path / "config.json"
    if not config.is_file():
        return str(path)
    fields = Fields.read(config)
    keys = [key for key in ("model_type", "type") if fields.has(key)]
    return str(config) + "".join(f": '{key}' is {fields.get(key)!r}" for key in keys)
