# SPDX-License-Identifier: Apache-2.0
"""Write a data set from the files of its episodes, as LeRobot v2.1 or v3.0.

The folder gets its name only when everything in it was written and verified, so an interrupted
command leaves no data set.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from groot_ros.datasets import DatasetError, writer_v3, writer_v21
from groot_ros.datasets.episodes import EpisodeFiles, index_episodes
from groot_ros.datasets.features import GROOT_ROS_JSON, Description, Format, write_json

_WRITERS = {"v2.1": writer_v21.write, "v3.0": writer_v3.write}


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give a folder next to `out`, which gets its name at the end, or is removed after an error.

    Raises:
        DatasetError: `out` exists, or cannot be created.

    """
    if out.exists() or out.is_symlink():
        raise DatasetError(f"{out} already exists: choose another directory, or move it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
    except OSError as error:
        raise DatasetError(f"{out} cannot be created: {error.strerror}") from error
    try:
        yield folder
        folder.chmod(0o755)
        os.replace(folder, out)
    except OSError as error:
        raise DatasetError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_dataset(
    folder: Path,
    description: Description,
    episodes: Sequence[EpisodeFiles],
    layout: Format = "v2.1",
) -> None:
    """Write all files of a data set into an empty folder, and verify them.

    Raises:
        DatasetError: there are no episodes, or one does not have what the description states.

    """
    if not episodes:
        raise DatasetError("there is no episode to write")
    (folder / "meta").mkdir(parents=True)
    tasks: dict[str, int] = {}
    _WRITERS[layout](folder, description, index_episodes(description, episodes, tasks), tasks)
    if description.modality:
        write_json(folder / "meta" / "modality.json", description.modality)
    if description.robot:
        write_json(folder / "meta" / GROOT_ROS_JSON, description.robot)
