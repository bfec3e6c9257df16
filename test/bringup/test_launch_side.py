# SPDX-License-Identifier: Apache-2.0
"""Imports of the launch files: `ros2 launch` runs them under the system Python, without torch."""

import subprocess
import sys

#: Modules of the system Python: the apt packages that package.xml lists.
_SYSTEM_MODULES = ("numpy", "yaml", "PIL", "ament_index_python")
_LAUNCH_SIDE = f"""
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        known = top in sys.stdlib_module_names or top in {("groot_ros", *_SYSTEM_MODULES)}
        if not known and not top.startswith("_"):
            raise ModuleNotFoundError(f"no module named {{name!r}}")

sys.meta_path.insert(0, NotInstalled())
from groot_ros.bringup.node_graph import demo_graph, rosbag2_command
print([p.executable for p in demo_graph({{}}).processes])
print(rosbag2_command({{"output": "/b"}}, "jazzy")[:3])
"""


def test_the_launch_files_need_no_module_of_the_virtual_environment() -> None:
    ran = subprocess.run([sys.executable, "-c", _LAUNCH_SIDE], capture_output=True, text=True)
    assert ran.stdout.splitlines() == [
        "['policy_node', 'executor_node', 'sim_robot_node']",
        "['ros2', 'bag', 'record']",
    ], ran.stderr
