# SPDX-License-Identifier: Apache-2.0
"""Installed programs run under the Python of the build, and CMake warns about missing modules."""

import os
import stat
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from groot_ros import __version__

REPOSITORY = Path(__file__).parents[1]
_PROJECT = """
cmake_minimum_required(VERSION 3.15)
project(part NONE)
include({repository}/cmake/programs.cmake)
groot_ros_install_program({repository}/bin/groot-ros bin)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """Return (virtual environment without packages, installed program, output of CMake)."""
    root = tmp_path_factory.mktemp("programs")
    venv.create(root / "venv", symlinks=True)
    (root / "CMakeLists.txt").write_text(_PROJECT.format(repository=REPOSITORY), encoding="utf-8")
    environment = {
        **os.environ,
        "VIRTUAL_ENV": str(root / "venv"),
        "PATH": f"{root / 'venv' / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": "",
    }
    output = ""
    for command in (
        ("-S", root, "-B", root / "build", f"-DCMAKE_INSTALL_PREFIX={root / 'install'}"),
        ("--install", root / "build"),
    ):
        ran = subprocess.run(
            ["cmake", *map(str, command)], env=environment, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
        output += " ".join(ran.stderr.split())
    return root / "venv", root / "install" / "bin" / "groot-ros", output


def test_a_program_runs_under_the_environment_of_the_build(built) -> None:
    environment, program, _ = built
    first, _, rest = program.read_text(encoding="utf-8").partition("\n")
    assert Path(first.removeprefix("#!")).parent == environment / "bin"
    assert rest == (REPOSITORY / "bin" / "groot-ros").read_text(encoding="utf-8").partition("\n")[2]
    assert program.stat().st_mode & stat.S_IXUSR


def test_a_program_runs_without_an_active_environment(built) -> None:
    _, program, _ = built
    sources = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY)}
    ran = subprocess.run([program, "--version"], env=sources, capture_output=True, text=True)
    assert ran.stdout == f"groot_ros {__version__}\n", ran.stderr


def test_the_build_names_the_missing_modules_and_the_solution(built) -> None:
    environment, _, output = built
    assert f"run by {environment}/bin/python" in output
    assert "lacks: torch safetensors tokenizers tqdm. Activate the virtual environment" in output
    assert "docs/how-to/install.md" in output


def test_the_build_does_not_warn_when_nothing_is_missing(tmp_path: Path) -> None:
    project = _PROJECT.format(repository=REPOSITORY)
    (tmp_path / "CMakeLists.txt").write_text(project, encoding="utf-8")
    ran = subprocess.run(
        ["cmake", "-S", tmp_path, "-B", tmp_path / "b", f"-DPython3_EXECUTABLE={sys.executable}"],
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
