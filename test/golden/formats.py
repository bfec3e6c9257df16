"""Which format a folder is in, by the files it holds."""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from golden import action_head, backbone, full, policy, state_action, vision_language

#: The policy before the checkpoints: it has their files and more.
FORMATS = (state_action, vision_language, backbone, action_head, policy, full)


def name_of(module: ModuleType) -> str:
    """As it is printed."""
    return module.__name__.removeprefix("golden.")


def format_of(folder: Path) -> ModuleType | None:
    """The format of a set, or None."""
    for module in FORMATS:
        if all((folder / name).is_file() for name in module.FILES) and module.belongs(folder):
            return module
    return None


def sets_in(folder: Path) -> Iterator[Path]:
    """The folder itself where it holds data, whatever its format, else all such folders below."""
    if any(path.suffix in (".safetensors", ".npz") for path in folder.iterdir()):
        yield folder
        return
    for child in sorted(path for path in folder.iterdir() if path.is_dir()):
        yield from sets_in(child)


def what_is_missing(folder: Path) -> str:
    """In one line, why a folder is not a set: the nearest format, and what it would need."""

    def present(module: ModuleType) -> list[str]:
        return [name for name in module.FILES if (folder / name).is_file()]

    nearest = max(FORMATS, key=lambda module: len(present(module)) / len(module.FILES))
    missing = [name for name in nearest.FILES if name not in present(nearest)]
    if not present(nearest):
        return f"has none of the files of {', '.join(map(name_of, FORMATS))}"
    if missing:
        return f"nearest to {name_of(nearest)}, but without {', '.join(missing)}"
    return f"has the files of {name_of(nearest)}, but is of another model than GR00T N1.6"
