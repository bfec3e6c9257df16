# SPDX-License-Identifier: Apache-2.0
"""Packaging: one version, and data files found in a source tree, a wheel and an ament install."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from groot_ros import __version__
from groot_ros.core.share import share_directory

REPOSITORY = Path(__file__).parents[1]


def test_package_xml_has_the_version_of_the_python_package() -> None:
    package = ElementTree.parse(REPOSITORY / "package.xml").getroot()
    assert package.findtext("version") == __version__


def test_the_changelog_has_an_entry_for_this_version() -> None:
    lines = (REPOSITORY / "CHANGELOG.rst").read_text(encoding="utf-8").splitlines()
    assert any(line.startswith(__version__) for line in lines)


def test_package_xml_lists_the_ros_packages_that_are_imported() -> None:
    package = ElementTree.parse(REPOSITORY / "package.xml").getroot()
    listed = {e.text for tag in ("depend", "exec_depend") for e in package.iter(tag)}
    source = "\n".join(p.read_text(encoding="utf-8") for p in REPOSITORY.glob("groot_ros/**/*.py"))
    words = {line.split()[1] for line in source.splitlines() if line[:5] in ("from ", "impor")}
    modules = {word.partition(".")[0] for word in words}
    ros = {m for m in modules if m == "rclpy" or m.endswith(("_msgs", "_srvs", "_interfaces"))}
    assert {"rclpy", "rcl_interfaces", "sensor_msgs"} <= ros
    assert ros <= listed


def test_a_source_tree_uses_its_own_data_files() -> None:
    assert share_directory() == REPOSITORY


def test_the_error_for_missing_data_files_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="source the setup file of the workspace"):
        share_directory(tmp_path / "groot_ros")


def test_an_ament_install_uses_its_share_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "groot_ros").touch()
    (tmp_path / "share" / "groot_ros").mkdir()
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    package = tmp_path / "lib" / "python3" / "site-packages" / "groot_ros"
    assert share_directory(package) == tmp_path / "share" / "groot_ros"


_USE_WHEEL = """
from groot_ros.bringup.node_graph import demo_graph
from groot_ros.core.share import robot_path, share_directory
from groot_ros.robot import load_contract
print(share_directory())
print(all(load_contract(robot_path(r)).model.is_file() for r in ("so101", "bimanual")))
policy = demo_graph({}).processes[0]
print(policy.parameters["checkpoint"])
print(sorted(p.name for p in (share_directory() / "msg").iterdir())[0])
print(*sorted(p.name for p in (share_directory() / "config").iterdir() if p.is_file()))
"""


def test_a_wheel_contains_the_data_files_and_needs_no_ament(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    library = tmp_path / "lib"
    build = ["egg_info", "--egg-base", str(tmp_path), "build_py", "--build-lib", str(library)]
    subprocess.run(
        [sys.executable, "setup.py", "-q", *build], cwd=REPOSITORY, check=True, capture_output=True
    )
    environment = {k: v for k, v in os.environ.items() if k != "AMENT_PREFIX_PATH"}
    ran = subprocess.run(
        [sys.executable, "-c", _USE_WHEEL],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(library)},
        capture_output=True,
        text=True,
    )
    for file in ("page.html.j2", "run_timeline.html"):
        assert (library / "groot_ros" / "evaluation" / file).is_file()
    share = library / "groot_ros" / "share"
    assert ran.stdout.splitlines() == [
        str(share),
        "True",
        str(share / "checkpoints" / "so101_table"),
        "ActionChunk.msg",
        "diagnostics.yaml executor.yaml fastdds.xml fastdds_commands.xml groot_ros.rviz "
        "policy.yaml",
    ], ran.stderr
