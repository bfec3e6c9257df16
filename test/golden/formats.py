# SPDX-License-Identifier: Apache-2.0
"""Find golden sets, and recognise the format of a set by its files."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from golden import (
    action_head,
    backbone,
    full,
    n1d5_backbone,
    n1d5_full,
    n1d5_head,
    n1d5_lerobot,
    n1d5_normalizers,
    n1d5_policy,
    n1d5_processor,
    policy,
    state_action,
    vima,
    vision_language,
)

#: "policy" comes before "full", whose files it has too.
FORMATS = (
    state_action,
    vision_language,
    backbone,
    n1d5_backbone,
    action_head,
    n1d5_head,
    vima,
    n1d5_normalizers,
    n1d5_processor,
    n1d5_lerobot,
    n1d5_policy,
    n1d5_full,
    policy,
    full,
)
_NAMES = {name for module in FORMATS for name in module.FILES if "/" not in name}


def name_of(module: ModuleType) -> str:
    """Return the name that is printed."""
    return module.__name__.removeprefix("golden.")


def format_of(folder: Path) -> ModuleType | None:
    """Return the format of a set, or None."""
    for module in FORMATS:
        if all((folder / name).is_file() for name in module.FILES) and module.belongs(folder):
            return module
    return None


def sets_in(folder: Path, seen: set[Path] | None = None) -> Iterator[Path]:
    """Yield every folder, this one included, that holds data or a file which only sets have.

    The checkpoints of a set belong to it. Hidden folders are skipped; a folder that several links
    lead to is yielded once. A folder that cannot be listed is yielded too, so that it is reported.
    """
    seen = set() if seen is None else seen
    if folder.resolve() in seen:
        return
    seen.add(folder.resolve())
    try:
        children = sorted(folder.iterdir())
    except OSError:
        yield folder
        return
    is_set = any(p.suffix in (".safetensors", ".npz") or p.name in _NAMES for p in children)
    if is_set:
        yield folder
    for child in children:
        if not os.path.isdir(child) or child.name.startswith("."):
            continue
        if not (is_set and _is_checkpoint(child)):
            yield from sets_in(child, seen)


def _is_checkpoint(folder: Path) -> bool:
    """Tell whether a folder has a config, but no golden values."""
    golden = (*action_head.FILES[1:], *backbone.FILES)
    # os.path returns False where Path raises; an unreadable folder is reported elsewhere.
    return os.path.isfile(folder / "config.json") and not any(
        os.path.exists(folder / name) for name in golden if name != "eagle_config.json"
    )


def what_is_missing(folder: Path) -> str:
    """Return one line on why a folder is not a set: the nearest format and its missing files."""

    def present(module: ModuleType) -> list[str]:
        return [name for name in module.FILES if (folder / name).is_file()]

    def nearness(module: ModuleType) -> tuple[bool, float]:
        # A format of one file says little: other sets have that file as well.
        found = present(module)
        return bool(found) and len(module.FILES) > 1, len(found) / len(module.FILES)

    nearest = max(FORMATS, key=nearness)
    missing = [name for name in nearest.FILES if name not in present(nearest)]
    if not present(nearest):
        return f"has none of the files of {', '.join(map(name_of, FORMATS))}"
    if missing:
        return f"nearest to {name_of(nearest)}, but without {', '.join(missing)}"
    return f"has the files of {name_of(nearest)}, but is of a model that is not known here"
