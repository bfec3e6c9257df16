# SPDX-License-Identifier: Apache-2.0
"""The simulated robots: physics, controllers, cameras, tasks and scripted experts.

MuJoCo reads MUJOCO_GL once, when it is first imported: the rendering backend is chosen before.
"""

import os
import sys
from ctypes.util import find_library

#: (value of MUJOCO_GL, library). Software rendering first: it needs no driver, and its pixels are
#: the same on every machine.
_BACKENDS = (("osmesa", "OSMesa"), ("egl", "EGL"))


def choose_rendering_backend() -> str:
    """Set MUJOCO_GL unless the user has set it, and return its value.

    Raises:
        ImportError: mujoco was imported before without MUJOCO_GL, or no library is installed.

    """
    chosen = os.environ.get("MUJOCO_GL", "")
    if chosen:
        return chosen
    if "mujoco" in sys.modules:
        raise ImportError(
            "mujoco was imported before groot_ros.sim, so it expects a display: "
            "import groot_ros.sim first, or set MUJOCO_GL=osmesa"
        )
    for backend, library in _BACKENDS:
        if find_library(library):
            os.environ["MUJOCO_GL"] = backend
            return backend
    raise ImportError(
        "the simulator cannot render: neither libOSMesa nor libEGL is installed; "
        "run 'apt-get install libosmesa6'"
    )


choose_rendering_backend()

from groot_ros.sim.arm import SimulatedArm  # noqa: E402
from groot_ros.sim.camera import CameraRenderer  # noqa: E402

__all__ = [
    "CameraRenderer",
    "SimulatedArm",
    "choose_rendering_backend",
]
