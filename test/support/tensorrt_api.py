# SPDX-License-Identifier: Apache-2.0
"""Type check of the engine code against one TensorRT version: mypy with stubs of its bindings."""

import ast
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support.tensorrt_wheels import Bindings

ROOT = Path(__file__).parents[2]
ENGINE_CODE = Path("groot_ros/runtime/tensorrt")
ABSENT = "_absent"

_SETTINGS = """\
[mypy]
mypy_path = {stubs}
explicit_package_bases = True
namespace_packages = True
ignore_missing_imports = True
disallow_untyped_defs = True
follow_imports = silent
show_column_numbers = False
[mypy-torch.*,numpy.*]
follow_imports = skip
[mypy-torch,torch.cuda]
follow_imports = silent
"""
#: As much of torch as the engine code uses next to the API: an attribute of a value whose type is
#: unknown would escape the check.
_TORCH = """\
from typing import Any
from torch import cuda as cuda
def __getattr__(name: str) -> Any: ...
class dtype: ...
class device:
    def __init__(self, name: str) -> None: ...
class Tensor:
    dtype: Any
    nbytes: int
    shape: Any
    def numel(self) -> int: ...
    def data_ptr(self) -> int: ...
    def view(self, shape: Any) -> Tensor: ...
    def copy_(self, other: Tensor, *, non_blocking: bool = ...) -> Tensor: ...
    def __getitem__(self, index: Any) -> Tensor: ...
"""
_TORCH_CUDA = """\
from typing import Any
def __getattr__(name: str) -> Any: ...
class Properties:
    name: str
    major: int
    minor: int
    multi_processor_count: int
def get_device_properties(device: Any) -> Properties: ...
"""
_FAULT = re.compile(r"^(.+?):(\d+): error: (.+)$")


@dataclass(frozen=True)
class TypeFault:
    """One error of mypy."""

    file: Path
    line: int
    text: str


@dataclass(frozen=True)
class Use:
    """One attribute in the engine code that has a name of the API."""

    file: Path
    line: int
    name: str


def write_stubs(bindings: Bindings, folder: Path) -> Path:
    """Write stubs of `tensorrt` and `torch` for mypy; return the folder for the path."""
    package, torch = folder / "tensorrt", folder / "torch"
    for path in (package, torch):
        path.mkdir(parents=True)
    (torch / "__init__.pyi").write_text(_TORCH, encoding="utf-8")
    (torch / "cuda.pyi").write_text(_TORCH_CUDA, encoding="utf-8")
    script = Path(__file__).with_name("tensorrt_stubs.py")
    done = bindings.run([str(script), str(package / "__init__.pyi")])
    assert done.returncode == 0, done.stderr
    return folder


def type_errors(code: Path, stubs: Path, root: Path = ROOT) -> list[TypeFault]:
    """Return the errors of mypy in a file or folder below `root`."""
    settings = stubs / "mypy.ini"
    settings.write_text(_SETTINGS.format(stubs=stubs), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file", str(settings)]
    command += ["--cache-dir", str(stubs / "cache"), str(code)]
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = [match for line in done.stdout.splitlines() if (match := _FAULT.match(line))]
    assert bool(found) == (done.returncode == 1), done.stdout
    return [TypeFault(Path(match[1]), int(match[2]), match[3]) for match in found]


def misspell_uses(stubs: Path, copy: Path) -> list[Use]:
    """Copy the package with a misspelt copy of every use of the API; return the misspelt uses."""
    shutil.copytree(ROOT / "groot_ros", copy / "groot_ros", ignore=shutil.ignore_patterns("*.xml"))
    names = _names(stubs / "tensorrt" / "__init__.pyi")
    uses = []
    for file in sorted((copy / ENGINE_CODE).glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if not _imports_tensorrt(tree):
            continue
        text = ast.unparse(ast.fix_missing_locations(_Misspelt(names).visit(tree)))
        file.write_text(text, encoding="utf-8")
        uses += [
            Use(file.relative_to(copy), node.end_lineno or 0, node.attr)
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Attribute) and node.attr.endswith(ABSENT)
        ]
    return uses


def _names(stub: Path) -> set[str]:
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    found = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    found |= {n.target.id for n in ast.walk(tree) if isinstance(n, ast.AnnAssign)}
    return found


def _imports_tensorrt(tree: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Import) and any(alias.name == "tensorrt" for alias in node.names)
        for node in ast.walk(tree)
    )


class _Misspelt(ast.NodeTransformer):
    """Replaces `x.name` by `(x.name, x.name_absent)[0]`, which keeps the type of the expression.

    Annotations and base classes are kept: mypy always reports an unknown one.
    """

    def __init__(self, names: set[str]) -> None:
        self._names = names

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        if node.attr not in self._names or _elsewhere(node):
            return node
        twin = ast.Attribute(node.value, node.attr + ABSENT, node.ctx)
        if isinstance(node.ctx, ast.Store):
            return twin
        pair = ast.Tuple([node, twin], ast.Load())
        return ast.Subscript(pair, ast.Constant(0), ast.Load())

    def visit_arguments(self, node: ast.arguments) -> ast.arguments:
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.body = [self.visit(statement) for statement in node.body]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        node.body = [self.visit(statement) for statement in node.body]
        return node


def _elsewhere(node: ast.Attribute) -> bool:
    """Return whether it is an attribute of another module with the same name."""
    return isinstance(node.value, ast.Name) and node.value.id in ("torch", "os", "self")
