# SPDX-License-Identifier: Apache-2.0
"""Check the imports between packages on the source text.

Every import counts, at the top of a file, inside a function or for types only: a lazy import is
still a dependency. `python test/support/import_graph.py --write` updates the table in
docs/explanation/architecture.md.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "groot_ros"
PAGE = ROOT / "docs" / "explanation" / "architecture.md"
BEGIN, END = "<!-- layers: generated -->", "<!-- end of layers -->"

#: Of the families only these modules may be imported from outside.
_FAMILIES = {"families.family", "families.registry", "families.training"}
#: Folders in `families` that are not families: parts that several of them share.
SHARED_BY_FAMILIES = {"gr00t"}


@dataclass(frozen=True)
class Layer:
    """Contents of a package, and the packages or modules that it may import besides its own."""

    holds: str
    may_import: frozenset[str]


def _layer(holds: str, may_import: set[str]) -> Layer:
    return Layer(holds, frozenset(may_import))


LAYERS = {
    "core": _layer("records exchanged between packages, programs, configuration, time", set()),
    "vision": _layer(
        "camera encodings, decoding, resampling, shift of a camera, objects by their labels",
        {"core"},
    ),
    "robot": _layer(
        "robot contract: joints, controllers, cameras, units, limits", {"core", "vision.encodings"}
    ),
    "checkpoint": _layer("locate, read and digest checkpoint files", {"core"}),
    "processing": _layer("normalisation, state and action codec, tokenizers", {"core"}),
    "layers": _layer("neural network blocks that families share", {"core"}),
    "families": _layer(
        "model families behind `registry` and `family`",
        {"core", "vision", "checkpoint", "processing", "layers"},
    ),
    "runtime": _layer("engines, their files, validation, selection", {"core", "checkpoint"}),
    "policy": _layer(
        "`load_policy(...)`, `Policy.infer(observation)`",
        {"core", "robot", "checkpoint", "runtime", "primitives"} | _FAMILIES,
    ),
    "observation": _layer(
        "buffers, synchronisation, input health, inference loop", {"core", "robot", "vision"}
    ),
    "control": _layer("chunks to bounded motion", {"core", "robot"}),
    "primitives": _layer(
        "inverse kinematics; poses of a tool to joint paths: pick and place, push",
        {"core", "robot"},
    ),
    "checks": _layer(
        "one list of checks for `inspect`, `doctor` and configure",
        {
            "core",
            "robot",
            "vision",
            "observation",
            "control.settings",
            "primitives",
            "policy",
            "families.family",
        },
    ),
    "export": _layer(
        "ONNX files, reference outputs, calibration, accuracy",
        {"core", "layers", "runtime", "policy"} | _FAMILIES,
    ),
    "bags": _layer("record and read bags", {"core", "robot", "vision"}),
    "datasets": _layer(
        "LeRobot data sets, from and to bags", {"core", "robot", "vision", "bags", "observation"}
    ),
    "sim": _layer("simulated robot, tasks, scripted experts", {"core", "robot"}),
    "rollout": _layer(
        "episodes in the simulator: data of experts, success of policies",
        {
            "core",
            "robot",
            "vision",
            "observation",
            "control",
            "primitives",
            "policy",
            "bags",
            "datasets",
            "sim",
            "families.family",
            "families.registry",
        },
    ),
    "evaluation": _layer(
        "recorded runs: reports, offline evaluation of policies",
        {
            "core",
            "vision",
            "robot",
            "checkpoint",
            "runtime.device",
            "observation",
            "control.rtc",
            "policy",
            "bags",
            "datasets",
        },
    ),
    "training": _layer(
        "`groot-ros train`",
        {"core", "robot", "vision", "checkpoint", "datasets"} | _FAMILIES,
    ),
    "bridge": _layer(
        "messages, QoS, parameters, diagnostics, graph monitoring, controllers",
        {"core", "robot", "vision", "observation", "control.settings"},
    ),
}
#: May import every package except `nodes`; only `nodes`' siblings here may be imported by them.
ASSEMBLY = {
    "bringup": "node graph, launch description, supervision",
    "cli": "`groot-ros <verb>`, one module per verb",
}
NODES = "one file per node, wiring only; imported by no other package"
#: Only these import ROS.
ROS_PACKAGES = {"bridge", "nodes"}
WITHOUT_TORCH = {
    "core",
    "robot",
    "vision",
    "processing",
    "observation",
    "control",
    "primitives",
    "checks",
    "bridge",
    "bags",
    "datasets",
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
    for_types: bool = False

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def violations(package: Path) -> list[str]:
    """Return every import in the package's folder that the layers forbid."""
    found = []
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package).parts
        own = parts[0].removesuffix(".py")
        for imported in imports(file, package):
            problem = _problem(own, imported) or _family_problem(parts, imported.module)
            if problem:
                found.append(f"{imported}: {problem}")
    return found


def imports(file: Path, package: Path) -> Iterator[Import]:
    """Yield all imports of one file; `from a import b` counts as a.b, relative ones resolved."""
    here = (PACKAGE, *file.relative_to(package).parts[:-1])
    tree = ast.parse(file.read_text(encoding="utf-8"))
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        for_types = id(node) in guarded
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(file, node.lineno, name.name, for_types)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            source = ".".join((*base, *((node.module,) if node.module else ())))
            for name in node.names:
                yield Import(file, node.lineno, f"{source}.{name.name}", for_types)


def module_graph(package: Path) -> dict[str, set[str]]:
    """Return module -> modules of the package that it imports, lazily or for types included."""
    files = {}
    for file in package.rglob("*.py"):
        parts = (PACKAGE, *file.relative_to(package).with_suffix("").parts)
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    graph: dict[str, set[str]] = {name: set() for name in files}
    for name, file in files.items():
        for imported in imports(file, package):
            target = imported.module
            while target and target not in files:
                target = target.rpartition(".")[0]
            if target and target != name:
                graph[name].add(target)
    return graph


def cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the names on one cycle of the graph, or an empty list."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for target in sorted(graph.get(name, ())):
            if found := visit(target, [*path, name]):
                return found
        done.add(name)
        return []

    for name in sorted(graph):
        if found := visit(name, []):
            return found
    return []


def table() -> str:
    """Return the table of layers for the architecture page."""
    rows = ["| package | holds | may import |", "|---|---|---|"]
    for name, layer in LAYERS.items():
        allowed = ", ".join(f"`{other}`" for other in _in_order(layer.may_import))
        rows.append(f"| `{name}` | {layer.holds} | {allowed or 'nothing'} |")
    rows.append(f"| `nodes` | {NODES} | everything except {_listed(ASSEMBLY)} |")
    for name, holds in ASSEMBLY.items():
        rows.append(f"| `{name}` | {holds} | everything except `nodes` |")
    rows += [
        "",
        f"Only {_listed(ROS_PACKAGES)} import ROS. {_listed(WITHOUT_TORCH)} do not import torch.",
        f"Families do not import each other; {_listed(SHARED_BY_FAMILIES)} in `families` holds the "
        "parts that the GR00T families share.",
    ]
    return "\n".join(rows)


def write_table(page: Path = PAGE) -> None:
    """Replace the table of the architecture page."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}", encoding="utf-8")


def _in_order(names: frozenset[str]) -> list[str]:
    order = list(LAYERS)
    return sorted(names, key=lambda name: (order.index(name.partition(".")[0]), name))


def _listed(names: object) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _problem(own: str, imported_module: Import) -> str:
    top, _, rest = imported_module.module.partition(".")
    # An import for types is not executed.
    if top == "torch" and own in WITHOUT_TORCH and not imported_module.for_types:
        return f"{own} must run without torch"
    if top in _ROS_MODULES or top.endswith("_msgs"):
        return "" if own in ROS_PACKAGES else "only bridge and nodes import ROS"
    if top != PACKAGE:
        return ""
    imported = rest.partition(".")[0]
    if imported in ("msg", "srv"):
        return "" if own in ROS_PACKAGES else "only bridge and nodes import ROS"
    if imported in ("", "__version__", own):
        return ""
    return _layer_problem(own, imported, rest)


def _family_problem(own: tuple[str, ...], module: str) -> str:
    """Return why a file in a family's folder may not import a module of another folder, or ""."""
    package, _, rest = module.partition(".families.")
    other = rest.partition(".")[0]
    if package != PACKAGE or own[0] != "families" or len(own) < 3 or other == own[1]:
        return ""
    if own[1] not in SHARED_BY_FAMILIES and other in SHARED_BY_FAMILIES:
        return ""
    allowed = {name.partition(".")[2] for name in _FAMILIES}
    return "" if other in allowed else "families do not import each other"


def _layer_problem(own: str, imported: str, module: str) -> str:
    if imported == "nodes":
        return "no package imports nodes"
    if imported in ASSEMBLY:
        return "" if own in ASSEMBLY else f"only {', '.join(sorted(ASSEMBLY))} import {imported}"
    if imported == "families" and own not in LAYERS:
        allowed = any(f"{module}.".startswith(f"{name}.") for name in _FAMILIES)
        return "" if allowed else "families is imported through family, registry and training only"
    if own == "nodes" or own in ASSEMBLY:
        return ""
    if own not in LAYERS:
        return f"'{own}' is not in LAYERS of test/support/import_graph.py: add it there"
    allowed_names = LAYERS[own].may_import
    if any(f"{module}.".startswith(f"{name}.") for name in allowed_names):
        return ""
    return f"{own} may import only {', '.join(sorted(allowed_names)) or 'nothing'}"


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python test/support/import_graph.py --write")
    write_table()
