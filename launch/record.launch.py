"""Record the graph of a robot contract with `ros2 bag record`.

    ros2 launch groot_ros record.launch.py robot:=so101 output:=~/bags/run1

Where rosbag2 is not installed, `groot-ros bag record` writes the same topics.
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.substitutions import LaunchConfiguration

from groot_ros.bags.topics import graph_topics
from groot_ros.robot import load_contract
from groot_ros.share import robot_path


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument("robot", default_value="so101", description="Robot contract"),
            DeclareLaunchArgument("namespace", default_value="", description="Of the graph"),
            DeclareLaunchArgument("output", description="Directory of the bag; must not exist"),
            OpaqueFunction(function=_record),
        ]
    )


def _record(context: LaunchContext) -> list[ExecuteProcess]:
    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    namespace = f"/{value('namespace').strip('/')}".rstrip("/")
    contract = load_contract(robot_path(value("robot")))
    topics = [t if t.startswith("/") else f"{namespace}/{t}" for t in graph_topics(contract)]
    command = ["ros2", "bag", "record", "--storage", "mcap", "--output", value("output"), *topics]
    return [ExecuteProcess(cmd=command, output="screen")]
