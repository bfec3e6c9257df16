# SPDX-License-Identifier: Apache-2.0
"""A robot with a table, a model that answers with given poses, and a planner without kinematics."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from groot_ros.core import ToolPose
from groot_ros.core.prompt import placeholder_problem
from groot_ros.core.share import robot_path
from groot_ros.families.family import PolicySpec, UnusableObjectsError
from groot_ros.families.vima.actions import PickPlace, TablePose
from groot_ros.primitives import JointPath
from groot_ros.robot import RobotContract, Table, load_contract
from groot_ros.robot.inputs import Labels

VIEWS = ("front", "wrist")
SPEC = PolicySpec(
    family="poses",
    embodiment="table",
    views=VIEWS,
    image_history=(0,),
    state_history=(0,),
    state_groups={},
    action_groups={"pick": 7, "place": 7},
    action_space={"pick": "pose", "place": "pose"},
    horizon=16,
    stateful=True,
    labels=True,
    pictures=True,
    action="pick_place",
)
TABLE = Table(
    frame="table",
    x=(0.15, 0.2),
    y=(-0.08, 0.08),
    height=0.0,
    tool="grasp",
    tool_axis="x",
    symmetric=True,
    approach=0.1,
    pick_height=0.02,
    place_height=0.03,
    push_height=0.01,
)


def table_robot() -> RobotContract:
    """Return the contract so101 with a table and labels of both cameras."""
    contract = load_contract(robot_path("so101"))
    cameras = {
        view: replace(camera, labels=Labels(f"{view}/labels", "mono8"))
        for view, camera in contract.cameras.items()
    }
    return replace(contract, cameras=cameras, table=TABLE)


@dataclass
class PosesModel:
    """Model whose sessions answer with the number of the step as x, in cm from the table's edge."""

    memory_bytes: int = 7
    sessions: list["PosesSession"] = field(default_factory=list)

    def session(self, text, pictures, low, high) -> "PosesSession":
        if problem := placeholder_problem(text, pictures):
            raise ValueError(problem)
        if "unknown" in text:
            raise ValueError(f"prompt '{text}': 'unknown' is not in the vocabulary")
        self.sessions.append(PosesSession(text, pictures, low))
        return self.sessions[-1]

    def warm_up(self, low, high) -> None:
        """Do nothing."""


@dataclass
class PosesSession:
    text: str
    pictures: Mapping
    low: tuple[float, float]
    steps: int = 0
    taken_back: int = 0

    def step(self, images, labels, tool: str) -> PickPlace:
        if not all((own > 0).any() for own in labels.values()):
            raise UnusableObjectsError("no object in the labels of front")
        self.steps += 1
        x, y = self.low[0] + 0.01 * self.steps, self.low[1]
        rotation = (0.0, 0.0, 0.0, 1.0)
        return PickPlace(TablePose(x, y, rotation), TablePose(x, y + 0.1, rotation), bins={})

    def take_back(self) -> None:
        self.steps -= 1
        self.taken_back += 1


class LinePlanner:
    """Planner of a straight line in joint space: every joint moves by `distance` in `seconds`."""

    table, tool = TABLE, "suction"

    def __init__(self, joints, distance: float = 0.3, seconds: float = 2.0) -> None:
        self.joints, self.distance, self.seconds = tuple(joints), distance, seconds
        self.starts: list[dict[str, float]] = []
        self.unreachable = False

    def poses(self, action: PickPlace) -> tuple[ToolPose, ToolPose]:
        pick, place = action.pick, action.place
        return ToolPose((pick.x, pick.y, 0.02)), ToolPose((place.x, place.y, 0.03))

    def plan(self, start: Mapping[str, float], action: PickPlace) -> JointPath:
        pick, _ = self.poses(action)
        if self.unreachable:
            raise ValueError(f"pick pose {pick} cannot be reached: joint_2 is at its limit")
        self.starts.append(dict(start))
        begin = np.array([start[joint] for joint in self.joints])
        end = begin + self.distance
        return JointPath(self.joints, np.array([0.0, self.seconds]), np.stack([begin, end]))
