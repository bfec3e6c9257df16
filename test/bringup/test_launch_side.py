"""What `ros2 launch` imports, under the Python that runs it."""

import subprocess
import sys

#: Of the machine's own Python, under which `ros2 launch` runs: what package.xml asks apt for.
_OF_THE_SYSTEM = ("numpy", "yaml", "PIL", "ament_index_python")
_LAUNCH_SIDE = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        known = top in sys.stdlib_module_names or top in {("groot_ros", *_OF_THE_SYSTEM)}
        if not known and not top.startswith("_"):
            raise ModuleNotFoundError(f"no module named {{name!r}}")

sys.meta_path.insert(0, Absent())
from groot_ros.bringup.node_graph import demo_graph
from groot_ros.bringup.recording import rosbag2_command
print([p.executable for p in demo_graph({{}}).processes])
print(rosbag2_command({{"output": "/b"}}, "jazzy")[:3])
"""


def test_a_launch_needs_nothing_that_only_the_virtual_environment_has() -> None:
    ran = subprocess.run([sys.executable, "-c", _LAUNCH_SIDE], capture_output=True, text=True)
    assert ran.stdout.splitlines() == [
        "['policy_node', 'executor_node', 'sim_robot_node']",
        "['ros2', 'bag', 'record']",
    ], ran.stderr
