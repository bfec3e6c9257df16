# SPDX-License-Identifier: Apache-2.0
"""The choice of a backend, each in a new interpreter because mujoco reads it once."""

import os
import subprocess
import sys


def run(code, **environment):
    inherited = {k: v for k, v in os.environ.items() if k != "MUJOCO_GL"}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


CHOOSE = "from groot_ros.sim import choose_rendering_backend as c; print(c())"


def test_importing_the_package_makes_mujoco_render_without_a_display():
    done = run("import os, groot_ros.sim; print(os.environ['MUJOCO_GL'])", DISPLAY="")
    assert done.stdout.strip() in ("osmesa", "egl")


def test_the_users_choice_is_kept():
    done = run("import os, groot_ros.sim; print(os.environ['MUJOCO_GL'])", MUJOCO_GL="disable")
    assert done.stdout.strip() == "disable"


def test_the_error_of_an_earlier_import_of_mujoco_says_how_to_fix_it():
    done = run("import sys, types; sys.modules['mujoco'] = types.ModuleType('m')\n" + CHOOSE)
    assert "import groot_ros.sim first" in done.stderr


def test_without_a_library_the_package_to_install_is_named():
    code = "import ctypes.util; ctypes.util.find_library = lambda name: None\n" + CHOOSE
    assert "apt-get install libosmesa6" in run(code).stderr
