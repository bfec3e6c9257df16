# SPDX-License-Identifier: Apache-2.0
"""Location of the package's data files: config/, checkpoints/, msg/ and srv/."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
#: Robot contracts of the tasks in the simulator: those of GR00T, and those of VIMA with pictures in
#: their prompts. The checkpoints that ship are trained for them.
DEMO_ROBOT, PROMPT_ROBOT = "so101_table", "arm7_suction_table"


def share_directory(package: Path = _PACKAGE) -> Path:
    """Return the folder that contains config/, checkpoints/, msg/ and srv/.

    The search order is the source tree, `groot_ros/share` (installed from a wheel), then
    `share/groot_ros` of the ament index (installed by colcon). The source tree comes first, so
    edits there take effect without a build.

    Args:
        package: folder of the Python package groot_ros.

    Raises:
        FileNotFoundError: none of them exists.

    """
    if (package.parent / "package.xml").is_file():
        return package.parent
    if (package / "share" / "config").is_dir():
        return package / "share"
    try:
        from ament_index_python.packages import get_package_share_directory

        return Path(get_package_share_directory("groot_ros"))
    except (ImportError, LookupError) as error:
        raise FileNotFoundError(
            f"the data files of groot_ros were not found: {package} is neither in a source tree "
            "nor installed from a wheel, and groot_ros is not in the ament index; "
            "source the setup file of the workspace"
        ) from error


def demo_checkpoint(robot: str = DEMO_ROBOT) -> Path:
    """Return the directory of the shipped checkpoint, trained only for this simulated robot."""
    return share_directory() / "checkpoints" / robot


def dds_profile(file: str = "fastdds.xml") -> dict[str, str]:
    """Return the environment variable that selects a DDS profile, unless the user has set it.

    Args:
        file: name of a file in config/.

    """
    name = "FASTRTPS_DEFAULT_PROFILES_FILE"
    chosen = os.environ.get(name)
    return {} if chosen else {name: str(share_directory() / "config" / file)}


def robot_path(robot: str) -> Path:
    """Return the file of a robot contract.

    Args:
        robot: path of a file, or the name of a contract in config/robots.

    Raises:
        ValueError: not set, or no such file and no such name; the message lists the names.

    """
    shipped = share_directory() / "config" / "robots"
    names = ", ".join(sorted(p.stem for p in shipped.glob("*.yaml")))
    if not robot:
        raise ValueError(f"robot is not set: give the file of a robot contract, or one of: {names}")
    candidates = (Path(robot), shipped / robot, shipped / f"{robot}.yaml")
    for candidate in candidates:
        if candidate.is_file():
            return candidate.resolve()
    problem = "is a directory, not a file" if Path(robot).is_dir() else "no such file"
    raise ValueError(f"robot contract '{robot}': {problem}, and not one of: {names}")
