"""Where the package's data files are: in the source tree, or in the installed share folder."""

from pathlib import Path


def share_directory() -> Path:
    """The folder that holds config/, launch/, msg/ and checkpoints/; sources come first."""
    source_tree = Path(__file__).resolve().parent.parent
    if (source_tree / "package.xml").is_file():
        return source_tree
    from ament_index_python.packages import get_package_share_directory

    return Path(get_package_share_directory("groot_ros"))


def robot_path(robot: str) -> Path:
    """A contract's file, from its path or from the name of one that the package ships.

    Raises:
        ValueError: no such file and no such name; the message lists the names.

    """
    shipped = share_directory() / "config" / "robots"
    candidates = (Path(robot), shipped / robot, shipped / f"{robot}.yaml")
    for candidate in candidates:
        if candidate.is_file():
            return candidate.resolve()
    names = ", ".join(sorted(p.stem for p in shipped.glob("*.yaml")))
    raise ValueError(f"robot contract '{robot}': no such file, and not one of: {names}")
