"""What CMake installs runs under the Python that built it; the build says what that one lacks."""

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
    """(virtual environment without packages, installed program, what the build said)."""
    root = tmp_path_factory.mktemp("programs")
    venv.create(root / "venv", symlinks=True)
    (root / "CMakeLists.txt").write_text(_PROJECT.format(repository=REPOSITORY), encoding="utf-8")
    environment = {
        **os.environ,
        "VIRTUAL_ENV": str(root / "venv"),
        "PATH": f"{root / 'venv' / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": "",
    }
    said = ""
    for command in (
        ("-S", root, "-B", root / "build", f"-DCMAKE_INSTALL_PREFIX={root / 'install'}"),
        ("--install", root / "build"),
    ):
        ran = subprocess.run(
            ["cmake", *map(str, command)], env=environment, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
        said += " ".join(ran.stderr.split())
    return root / "venv", root / "install" / "bin" / "groot-ros", said


def test_a_program_runs_under_the_environment_that_was_active_while_building(built) -> None:
    environment, program, _ = built
    first, _, rest = program.read_text(encoding="utf-8").partition("\n")
    assert Path(first.removeprefix("#!")).parent == environment / "bin"
    assert rest == (REPOSITORY / "bin" / "groot-ros").read_text(encoding="utf-8").partition("\n")[2]
    assert program.stat().st_mode & stat.S_IXUSR


def test_a_program_needs_no_active_environment(built) -> None:
    _, program, _ = built
    sources = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY)}
    ran = subprocess.run([program, "--version"], env=sources, capture_output=True, text=True)
    assert ran.stdout == f"groot_ros {__version__}\n", ran.stderr


def test_the_build_names_what_that_python_lacks_and_how_to_mend_it(built) -> None:
    environment, _, said = built
    assert f"run by {environment}/bin/python" in said
    assert "lacks: torch safetensors tokenizers tqdm. Activate the virtual environment" in said
    assert "docs/how-to/install.md" in said


def test_the_build_is_silent_where_everything_is_there(tmp_path: Path) -> None:
    project = _PROJECT.format(repository=REPOSITORY)
    (tmp_path / "CMakeLists.txt").write_text(project, encoding="utf-8")
    ran = subprocess.run(
        ["cmake", "-S", tmp_path, "-B", tmp_path / "b", f"-DPython3_EXECUTABLE={sys.executable}"],
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
