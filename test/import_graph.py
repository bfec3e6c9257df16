"""Who may import whom (docs: the layers of the package), checked on the source text.

Every import counts, at the top of a file or inside a function: a lazy import is still a
dependency.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "groot_ros"

_MODEL_SIDE = {"types", "robot", "processing", "control", "models"}
_POLICY_SIDE = _MODEL_SIDE | {"runtime", "policy"}

#: Room -> the rooms, and modules of rooms, it may import, besides itself.
MAY_IMPORT = {
    "types": set(),
    "robot": {"types"},
    "imaging": {"types"},
    "processing": {"types", "robot"},
    "control": {"types", "robot"},
    "models": {"types", "robot"},
    "runtime": _MODEL_SIDE,
    "policy": _MODEL_SIDE | {"runtime"},
    "export": _POLICY_SIDE,
    "bags": _POLICY_SIDE,
    "sim": _POLICY_SIDE,
    # Runs are judged from bags and in simulation, and demonstrations come from there.
    "evaluation": _POLICY_SIDE | {"imaging", "bags", "sim"},
    "training": _POLICY_SIDE | {"bags", "sim"},
    # The parameter tables take their defaults from the executor's settings.
    "bridge": {"types", "robot", "imaging", "control.settings"},
    "share": set(),
}
#: Outermost: may import every room but `nodes`, and no room imports them.
ASSEMBLY = {"bringup", "recording", "cli", "launching"}
#: Only these know ROS.
ROS_ROOMS = {"bridge", "nodes"}
#: Where the data files are: any room may ask.
EVERYWHERE = {"share"}
WITHOUT_TORCH = {
    "types",
    "robot",
    "imaging",
    "processing",
    "control",
    "bridge",
    "bags",
    "share",
    "bringup",
    "recording",
    "launching",
    "cli",
}

_ROS_MODULES = {"rclpy", "builtin_interfaces", "rcl_interfaces", "rosidl_runtime_py", "std_srvs"}


@dataclass(frozen=True)
class Import:
    """One imported module, as an absolute dotted name, and where."""

    file: Path
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def violations(package: Path) -> list[str]:
    """Every import below the package's folder that the layers forbid."""
    found = []
    for file in sorted(package.rglob("*.py")):
        room = file.relative_to(package).parts[0].removesuffix(".py")
        for imported in imports(file, package):
            problem = _problem(room, imported.module)
            if problem:
                found.append(f"{imported}: {problem}")
    return found


def imports(file: Path, package: Path) -> Iterator[Import]:
    """All imports of one file; `from a import b` counts as a.b, relative ones are resolved."""
    here = (PACKAGE, *file.relative_to(package).parts[:-1])
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(file, node.lineno, name.name)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            source = ".".join((*base, *((node.module,) if node.module else ())))
            for name in node.names:
                yield Import(file, node.lineno, f"{source}.{name.name}")


def _problem(room: str, module: str) -> str:
    top, _, rest = module.partition(".")
    if top == "torch" and room in WITHOUT_TORCH:
        return f"{room} must run without torch"
    if top in _ROS_MODULES or top.endswith("_msgs"):
        return "" if room in ROS_ROOMS else "ROS belongs into bridge and nodes"
    if top != PACKAGE:
        return ""
    imported = rest.partition(".")[0]
    if imported in ("msg", "srv"):
        return "" if room in ROS_ROOMS else "ROS belongs into bridge and nodes"
    if any(f"{rest}.".startswith(f"{allowed}.") for allowed in MAY_IMPORT.get(room, ())):
        return ""
    return _room_problem(room, imported)


def _room_problem(room: str, imported: str) -> str:
    if imported in ("", "__version__", room) or imported in EVERYWHERE:
        return ""
    if imported == "nodes":
        return "nothing imports nodes"
    if imported in ASSEMBLY:
        return "" if room in ASSEMBLY else f"nothing imports {imported} but the assembly"
    if room == "nodes" or room in ASSEMBLY:
        return ""
    if room not in MAY_IMPORT:
        return (
            f"'{room}' is not a room of the import graph: say in test/import_graph.py where it is"
        )
    return f"{room} may import only {', '.join(sorted(MAY_IMPORT[room])) or 'nothing'}"
