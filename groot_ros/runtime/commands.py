"""Commands that mend engine files, as they are typed into a shell."""

import shlex
from collections.abc import Collection
from pathlib import Path


def engine_command(action: str, **options: object) -> str:
    """Such as "groot-ros engine build --engine-directory engines/pick".

    Args:
        action: of `groot-ros engine`.
        options: by name with _ for -, several values as a collection; those that are None or empty
            are left out.

    """
    words = ["groot-ros", "engine", action]
    for name, value in options.items():
        if isinstance(value, str | Path) or not isinstance(value, Collection):
            value = () if value in (None, "") else (value,)
        if value:
            words += [f"--{name.replace('_', '-')}", *(shlex.quote(str(one)) for one in value)]
    return " ".join(words)


def make_command(directory: Path | None = None) -> str:
    """The whole chain, for whoever knows no more than where the files should lie."""
    return engine_command(
        "make", checkpoint="CHECKPOINT", embodiment="TAG", engine_directory=directory
    )


def build_command(directory: Path) -> str:
    """TensorRT engines anew from the ONNX files."""
    return engine_command("build", engine_directory=directory)
