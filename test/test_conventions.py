# SPDX-License-Identifier: Apache-2.0
"""Conventions that no linter checks: licence headers, and tests without private names."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
HEADER = "# SPDX-License-Identifier: Apache-2.0"
SUFFIXES = {".py", ".msg", ".srv", ".action", ".sh", ".cmake"}
#: Programs without a suffix.
PROGRAMS = "bin"
#: Public in spite of their names.
NAMED_TUPLE = {"_replace", "_asdict", "_fields"}


def sources() -> list[Path]:
    """Return the tracked source files; all files where this is not a git checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0:
        files = [REPOSITORY / name for name in listed.stdout.split("\0") if name]
    else:
        folders = ("groot_ros", "launch", "msg", "srv", "test", "benchmarks", "scripts", "bin")
        files = [p for folder in folders for p in (REPOSITORY / folder).rglob("*")]
    return sorted(
        file
        for file in files
        if file.is_file() and (file.suffix in SUFFIXES or file.parent.name == PROGRAMS)
    )


def private_reads(code: str) -> Iterator[str]:
    """Yield the private names that code reads of other objects and modules."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            names = [] if own else [node.attr]
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Call) and "attr" in ast.unparse(node.func):
            texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
            names = [text.rpartition(".")[2] for text in texts if isinstance(text, str)]
        else:
            continue
        for name in names:
            if name.startswith("_") and not name.startswith("__") and name not in NAMED_TUPLE:
                yield f"line {node.lineno}: {name}"


def test_every_source_file_begins_with_the_licence_header() -> None:
    files = sources()
    assert len(files) > 200
    missing = []
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines() or [""]
        first = lines[1:2] if lines[0].startswith("#!") else lines[:1]
        if first != [HEADER]:
            missing.append(str(file.relative_to(REPOSITORY)))
    assert not missing


def test_private_reads_are_found_in_each_form() -> None:
    code = (
        "from groot_ros.core import _hidden\n"
        "engine._model\n"
        "monkeypatch.setattr(module, '_count', 1)\n"
        "getattr(engine, '_spec')\n"
        "self._own, point._replace(x=1), f.__name__\n"
    )
    assert list(private_reads(code)) == [
        "line 1: _hidden",
        "line 2: _model",
        "line 3: _count",
        "line 4: _spec",
    ]


def test_no_test_reads_a_private_name() -> None:
    found = [
        f"{file.relative_to(REPOSITORY)}: {read}"
        for file in sources()
        if file.suffix == ".py" and "test" in file.relative_to(REPOSITORY).parts
        for read in private_reads(file.read_text(encoding="utf-8"))
    ]
    assert not found
