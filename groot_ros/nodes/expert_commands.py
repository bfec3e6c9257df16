# SPDX-License-Identifier: Apache-2.0
"""Topics that policy and executor would have, of a scripted expert in their place."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from groot_ros.bridge import qos
from groot_ros.bridge.messages import ns_to_time, timeline_to_msg
from groot_ros.core import CommittedTimeline, s_to_ns
from groot_ros.msg import CommittedTimeline as CommittedTimelineMsg
from groot_ros.msg import Instruction
from groot_ros.robot import RobotContract
from groot_ros.robot.controller import controller_type
from groot_ros.rollout.expert_episode import PERIOD
from groot_ros.sim.table_expert import STEP

#: Session of the committed motion; an empty one would mean that no policy has moved the robot.
_SESSION = "expert"


@dataclass(frozen=True)
class _Trajectory:
    """Positions of one controller in each control cycle, between which it interpolates linearly."""

    joint_names: tuple[str, ...]
    stamp_ns: int
    offsets_ns: NDArray[np.int64]
    positions: NDArray[np.float64]

    @property
    def velocities(self) -> NDArray[np.float64]:
        """Return no velocities: with them the controller would interpolate cubically."""
        return np.zeros((len(self.positions), 0))


class ExpertNode(Node):
    """Publishes what policy and executor would: instruction, committed motion, commands.

    Args:
        contract: of the robot; all its controllers follow trajectories.

    Raises:
        ValueError: a controller does not.

    """

    def __init__(self, contract: RobotContract) -> None:
        super().__init__("expert_node")
        for controller in contract.controllers:
            if controller.command != "trajectory":
                raise ValueError(
                    f"controller '{controller.name}' of robot '{contract.robot}' has the type "
                    f"{controller.type}, but the expert commands trajectories only"
                )
        self._joints = tuple(contract.joint_names)
        self._outputs = [
            (c, controller_type(c.type).connect(self, c, lambda callback: callback))
            for c in contract.controllers
        ]
        self._instruction = self.create_publisher(Instruction, "active_instruction", qos.LATCHED)
        self._timeline = self.create_publisher(
            CommittedTimelineMsg, "committed_timeline", qos.LATCHED
        )
        self._timelines = self._episodes = 0

    def instruct(self, text: str, now_ns: int) -> None:
        """Publish the instruction of an episode."""
        self._episodes += 1
        msg = Instruction(text=text, instruction_id=self._episodes, session=_SESSION)
        msg.header.stamp = ns_to_time(now_ns)
        self._instruction.publish(msg)

    def commit(
        self, present: NDArray[np.float64], following: NDArray[np.float64], now_ns: int
    ) -> None:
        """Publish the commands [n] of the expert for now and for the end of the step."""
        self._timelines += 1
        timeline = CommittedTimeline(
            stamp_ns=now_ns,
            id=self._timelines,
            session=_SESSION,
            episode=self._episodes,
            chunk_id=self._timelines,
            start_ns=now_ns,
            dt=STEP,
            joint_names=self._joints,
            positions=np.stack([present, following]),
            velocities=np.tile((following - present) / STEP, (2, 1)),
        )
        self._timeline.publish(timeline_to_msg(timeline))

    def command(self, commands: NDArray[np.float64], now_ns: int) -> None:
        """Send the commands [K, n] of the next control cycles to the controllers."""
        offsets = (1 + np.arange(len(commands))) * s_to_ns(PERIOD)
        for controller, output in self._outputs:
            columns = [self._joints.index(joint) for joint in controller.joints]
            own = _Trajectory(controller.joints, now_ns, offsets, commands[:, columns])
            output.send(own, now_ns)

    def close(self) -> None:
        """Destroy the publishers of the commands."""
        for _, output in self._outputs:
            output.destroy()
