"""Who may import whom (docs: the layers of the package), checked on the source text.

Every import counts, at the top of a file or inside a function: a lazy import is still a
dependency.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "groot_ros"

_BELOW_FAMILIES = {"core", "robot", "vision", "checkpoint", "processing", "layers"}
_POLICY_SIDE = _BELOW_FAMILIES | {"families", "models", "runtime", "policy"}

#: Package -> the packages, and modules of packages, that it may import besides itself.
MAY_IMPORT = {
    "core": set(),
    "robot": {"core", "vision.encodings"},
    "vision": {"core"},
    "checkpoint": {"core"},
    "processing": {"core", "robot", "vision", "checkpoint"},
    "layers": {"core"},
    "models": _BELOW_FAMILIES,
    "families": _BELOW_FAMILIES,
    "runtime": _BELOW_FAMILIES | {"models"},
    "policy": _BELOW_FAMILIES | {"families", "models", "runtime"},
    "observation": {"core", "robot"},
    "control": {"core", "robot"},
    "checks": {"core", "robot", "observation", "control.settings", "policy"},
    "export": _POLICY_SIDE,
    "bags": _POLICY_SIDE,
    "sim": _POLICY_SIDE,
    "evaluation": _POLICY_SIDE | {"bags", "sim"},
    "training": _POLICY_SIDE | {"bags", "sim"},
    "bridge": {"core", "robot", "vision", "observation", "checks", "control.settings"},
}
#: Outermost: may import every package but `nodes`, and no other package imports them.
ASSEMBLY = {"bringup", "cli"}
#: Only these import ROS.
ROS_ROOMS = {"bridge", "nodes"}
WITHOUT_TORCH = {
    "core",
    "robot",
    "vision",
    "checkpoint",
    "processing",
    "observation",
    "control",
    "checks",
    "bridge",
    "bags",
    "bringup",
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
    if imported in ("", "__version__", room):
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
