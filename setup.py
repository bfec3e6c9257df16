# SPDX-License-Identifier: Apache-2.0
"""Setuptools build: copies the data files at the top level into the wheel.

colcon uses CMakeLists.txt instead. Everything else is in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

#: Folders that a wheel contains as groot_ros/share/<name>; groot_ros.core.share finds them there.
SHARE = ("config", "checkpoints", "msg", "srv")


class BuildWithShare(build_py):
    """Build command that also copies SHARE; an editable install reads the source tree instead."""

    def run(self) -> None:
        """Copy the Python packages, then the data files."""
        super().run()
        if not self.editable_mode:
            source, target = Path(__file__).parent, Path(self.build_lib, "groot_ros", "share")
            for name in SHARE:
                shutil.copytree(source / name, target / name, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithShare})
