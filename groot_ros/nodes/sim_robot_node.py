# SPDX-License-Identifier: Apache-2.0
"""The simulated robot with the topics of a real driver: joint states, images, controllers."""

import threading
import time
from array import array
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock as ClockMsg
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, Float64MultiArray, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from groot_ros.bridge import qos
from groot_ros.bridge.command_topic import TopicControllerType
from groot_ros.bridge.diagnosis import diagnostic_array
from groot_ros.bridge.graph_monitor import PublisherConflicts, publishers_of
from groot_ros.bridge.gripper_action import GripperActionType
from groot_ros.bridge.messages import ns_to_time
from groot_ros.bridge.parameters import READ_ONCE, Parameters
from groot_ros.bridge.prompt_messages import image_msg
from groot_ros.core import NS_PER_S, SimRobotConfig, time_to_ns
from groot_ros.core.share import robot_path
from groot_ros.nodes.run import run
from groot_ros.nodes.sim_controller_states import ControllerStates
from groot_ros.nodes.sim_episodes import SimEpisodes
from groot_ros.nodes.sim_grippers import GripperServer
from groot_ros.nodes.sim_prompt_episodes import SimPromptEpisodes
from groot_ros.robot import load_contract
from groot_ros.robot.controller import controller_type
from groot_ros.sim.camera import FrameThread
from groot_ros.sim.clock import PeriodicTimer, RealTimePacer
from groot_ros.sim.controllers import Distro
from groot_ros.sim.robot import SimulatedRobot
from groot_ros.sim.tasks import chosen_tasks, prompt_task_names
from groot_ros.sim.trajectory import TrajectoryMessage, TrajectoryPoint, TrajectoryRejected
from groot_ros.sim.urdf import contract_urdf
from groot_ros.vision.encodings import DETECTIONS

#: Start of /clock, not 0, because a trajectory with a zero stamp starts immediately.
_SIM_START_NS = NS_PER_S


class SimRobotNode(Node):
    """Run the robot in a separate thread, in real time or as the source of /clock.

    Args:
        stepped: the caller runs the control periods, instead of a thread; needs publish_clock.

    Attributes:
        robot: the simulation.
        publisher_conflicts: other publishers of /clock.

    """

    def __init__(self, *, stepped: bool = False) -> None:
        super().__init__("sim_robot_node")
        parameters = Parameters(self, SimRobotConfig)
        if stepped and not parameters.config.publish_clock:
            raise ValueError("a stepped robot is the source of /clock: set publish_clock to true")
        contract = load_contract(robot_path(parameters.config.robot))
        self._robot_name = contract.robot
        self._publishes_clock = parameters.config.publish_clock
        factor = parameters.config.real_time_factor if self._publishes_clock else 1.0
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._wall = steady if self._publishes_clock else self.get_clock()
        start_ns = _SIM_START_NS if self._publishes_clock else self._wall.now().nanoseconds
        self.robot = SimulatedRobot(
            contract,
            start_ns,
            distro=cast(Distro, parameters.config.controller_distro),
            control_rate=parameters.config.control_rate,
            seed=parameters.config.seed,
        )
        self._pacer = RealTimePacer(self.robot.period_ns, factor)
        self.robot.encoder_error = parameters.config.joint_offset
        tasks = chosen_tasks(parameters.config.task, contract.robot)
        seed = parameters.config.seed
        shift = parameters.config.camera_shift
        self._episodes: SimEpisodes | None = None
        self._prompts: SimPromptEpisodes | None = None
        if set(tasks) & set(prompt_task_names()):
            size = parameters.config.image_width, parameters.config.image_height
            self._prompts = SimPromptEpisodes(self, self.robot, tasks, seed, size)
        elif tasks:
            self._episodes = SimEpisodes(self, self.robot, tasks, seed, shift)
        self._dropout, self._lost_frames = (
            parameters.config.camera_dropout,
            np.random.default_rng(seed),
        )
        parameters.lock(READ_ONCE)
        self._rejections: dict[str, tuple[int, str]] = {
            c.name: (0, "") for c in contract.controllers
        }

        rate = parameters.config.joint_state_rate
        self._joint_states = [
            (
                self.create_publisher(JointState, source.topic, qos.DRIVER),
                source.joints,
                PeriodicTimer(rate, start_ns),
            )
            for source in contract.sources
        ]
        self._controller_states = ControllerStates(
            self, self.robot, contract, parameters.config.controller_state_rate, start_ns
        )
        self._cameras = {
            name: (
                self.create_publisher(Image, camera.topic, qos.DRIVER),
                PeriodicTimer(camera.rate, start_ns),
            )
            for name, camera in contract.cameras.items()
        }
        self._frames = FrameThread(
            self.robot.model,
            tuple(contract.cameras),
            (parameters.config.image_width, parameters.config.image_height),
            self._publish_image,
            {
                name: partial(
                    self._publish_labels,
                    self.create_publisher(Image, camera.labels.topic, qos.DRIVER),
                    camera.labels.encoding,
                )
                for name, camera in contract.cameras.items()
                if camera.labels is not None and camera.labels.encoding != DETECTIONS
            },
        )
        self._grippers = []
        for controller in contract.controllers:
            kind = controller_type(controller.type)
            if isinstance(kind, GripperActionType):
                self._grippers.append(GripperServer(self, self.robot, controller, kind))
                continue
            receive: Callable[[str, Any], None]
            if controller.command == "target":
                message, receive, profile = Bool, self._on_flag, qos.LATCHED
            else:
                assert isinstance(kind, TopicControllerType)
                message, profile = kind.message_type(), qos.COMMAND
                streamed = controller.command == "positions"
                receive = self._on_values if streamed else self._on_trajectory
            self.create_subscription(
                message, controller.topic, partial(receive, controller.name), profile
            )
        self._clock_publisher = (
            self.create_publisher(ClockMsg, "/clock", qos.DRIVER) if self._publishes_clock else None
        )
        self.publisher_conflicts = PublisherConflicts(self.get_fully_qualified_name())
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.DRIVER)
        self._description = self.create_publisher(String, "robot_description", qos.LATCHED)
        self._description.publish(String(data=contract_urdf(contract)))
        self.create_timer(1.0, self._publish_diagnostics, clock=steady)
        self.create_service(Trigger, "~/reset", self._on_reset)

        self._stop = threading.Event()
        self._physics = threading.Thread(target=self._run_physics, name="physics", daemon=True)
        if not stepped:
            self._physics.start()
        self.get_logger().info(
            f"simulates {contract.robot} with {len(self.robot.joints)} joints, cameras "
            f"{', '.join(contract.cameras)}, controllers "
            f"{', '.join(c.name for c in contract.controllers)}"
        )

    def close(self) -> None:
        """Stop both threads; nothing is published afterwards, and no goal is answered."""
        self._stop.set()
        if self._physics.is_alive():
            self._physics.join()
        self._frames.close()
        for gripper in self._grippers:
            gripper.destroy()
        self._grippers = []

    def _run_physics(self) -> None:
        try:
            if not self._publishes_clock:
                self.restart_at(self._wall.now().nanoseconds)
            while not self._stop.is_set():
                cycles, jump_ns = self._pacer.due(self._wall.now().nanoseconds)
                if jump_ns and not self._publishes_clock:
                    self.get_logger().warning(
                        f"the clock jumped by {jump_ns / NS_PER_S:.3f} s: the robot holds"
                    )
                    self.restart_at(self.robot.now_ns + jump_ns)
                for _ in range(cycles):
                    self.robot.cycle()
                    self._publish_due()
                if cycles:
                    self.publish_clock(self.robot.now_ns)
                self._stop.wait(self._pacer.wait(self._wall.now().nanoseconds))
        except Exception as error:
            self.get_logger().fatal(f"the simulation ended: {type(error).__name__}: {error}")
            self.context.try_shutdown()
            raise

    def seed_lost_frames(self, seed: int) -> None:
        """Set the seed of the frames that are lost afterwards."""
        self._lost_frames = np.random.default_rng(seed)

    def publish_inputs(self) -> None:
        """Publish the joint states and images that are due, rendered before it returns."""
        self._publish_due()
        self._frames.finish()

    def publish_clock(self, now_ns: int) -> None:
        """Publish /clock if the node is its source."""
        if self._clock_publisher is not None:
            self._clock_publisher.publish(ClockMsg(clock=ns_to_time(now_ns)))

    def restart_at(self, now_ns: int) -> None:
        """Continue at another time, from which all periods count."""
        self.robot.jump_to(now_ns)
        for _, _, timer in self._joint_states:
            timer.restart(now_ns)
        self._controller_states.restart(now_ns)
        for _, timer in self._cameras.values():
            timer.restart(now_ns)

    def _publish_due(self) -> None:
        now_ns = self.robot.now_ns
        for publisher, joints, timer in self._joint_states:
            if timer.due(now_ns):
                reading = self.robot.reading(joints)
                state = JointState(
                    name=list(reading.names),
                    position=array("d", reading.positions),
                    velocity=array("d", reading.velocities),
                    effort=array("d", reading.efforts),
                )
                state.header.stamp = ns_to_time(reading.stamp_ns)
                publisher.publish(state)
        self._controller_states.publish_due(now_ns)
        if self._episodes is not None:
            self._episodes.publish()
        due = [name for name, (_, timer) in self._cameras.items() if timer.due(now_ns)]
        if self._dropout:
            due = [name for name in due if self._lost_frames.random() >= self._dropout]
        if due:
            if self._publishes_clock:
                # Render every frame, however fast simulated time runs. Waiting for the former
                # frames only, so that /clock does not stand still while this one is rendered.
                self._frames.finish()
            self._frames.offer(now_ns, self.robot.scene, due)

    def _publish_labels(
        self,
        publisher: Publisher,
        encoding: str,
        camera: str,
        stamp_ns: int,
        labels: NDArray[np.uint16],
    ) -> None:
        msg = image_msg(labels.astype(np.uint8 if encoding == "mono8" else np.uint16), encoding)
        msg.header.stamp = ns_to_time(stamp_ns)
        msg.header.frame_id = camera
        publisher.publish(msg)

    def _publish_image(self, camera: str, stamp_ns: int, image: NDArray[np.uint8]) -> None:
        height, width, _ = image.shape
        # array.array is fast both with and without rclpy's field checks.
        data = array("B")
        data.frombytes(np.ascontiguousarray(image).reshape(-1).data)
        msg = Image(height=height, width=width, encoding="rgb8", step=3 * width, data=data)
        msg.header.stamp = ns_to_time(stamp_ns)
        msg.header.frame_id = camera
        self._cameras[camera][0].publish(msg)

    def _on_trajectory(self, controller: str, msg: JointTrajectory) -> None:
        try:
            self.robot.accept_trajectory(controller, _trajectory(msg))
        except TrajectoryRejected as rejection:
            self._count_rejection(controller, str(rejection))

    def _on_values(self, controller: str, msg: Float64MultiArray) -> None:
        try:
            self.robot.accept_values(controller, msg.data)
        except ValueError as rejection:
            self._count_rejection(controller, str(rejection))

    def _on_flag(self, controller: str, msg: Bool) -> None:
        self.robot.accept_flag(controller, msg.data)

    def _count_rejection(self, controller: str, reason: str) -> None:
        count = self._rejections[controller][0] + 1
        self._rejections[controller] = (count, reason)
        self.get_logger().warning(
            f"{controller} rejected a command ({count} so far): {reason}",
            throttle_duration_sec=1.0,
        )

    def _publish_diagnostics(self) -> None:
        if self._clock_publisher is not None:
            self._check_for_another_clock()
            if self.publisher_conflicts.yields:
                self.close()
                self.context.try_shutdown()
                return
        statuses: list[DiagnosticStatus] = []
        for controller, (count, reason) in self._rejections.items():
            statuses.append(
                DiagnosticStatus(
                    level=DiagnosticStatus.WARN if count else DiagnosticStatus.OK,
                    name=f"{self.get_name()}: {controller}",
                    message=f"last rejection: {reason}" if count else "no command was rejected",
                    values=[KeyValue(key="rejected", value=str(count))],
                )
            )
        if self.publisher_conflicts.description:
            statuses.append(
                DiagnosticStatus(
                    level=DiagnosticStatus.ERROR,
                    name=f"{self.get_name()}: clock",
                    message=self.publisher_conflicts.description,
                )
            )
        self._diagnostics.publish(
            diagnostic_array(self, self._robot_name, self.robot.now_ns, statuses)
        )

    def _check_for_another_clock(self) -> None:
        names = publishers_of(self, "/clock")
        before = self.publisher_conflicts.description
        if not self.publisher_conflicts.begun:
            self.publisher_conflicts.begin(time.monotonic_ns())
        others = self.publisher_conflicts.check({"/clock": names}, time.monotonic_ns())
        if self.publisher_conflicts.yields:
            self.get_logger().fatal(f"two clocks: {others}; this simulation ends")
        elif others and not before:
            self.get_logger().error(f"two clocks: {others}")

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self.robot.busy:
            # The controller would immediately drive it back from its home position.
            response.message = "the arm is moving: hold the executor first"
            return response
        if (episodes := self._episodes or self._prompts) is not None:
            response.success, response.message = True, episodes.begin_next()
            return response
        self.robot.reset()
        places = {c: f"({p[0]:.3f}, {p[1]:.3f})" for c, p in self.robot.cubes.items()}
        response.success = True
        response.message = "arm home; cubes at " + ", ".join(f"{c} {p}" for c, p in places.items())
        return response


def _trajectory(msg: JointTrajectory) -> TrajectoryMessage:
    points = [
        TrajectoryPoint(
            time_to_ns(p.time_from_start), p.positions, p.velocities, p.accelerations, p.effort
        )
        for p in msg.points
    ]
    return TrajectoryMessage(time_to_ns(msg.header.stamp), msg.joint_names, points)


def main() -> None:
    """Run the simulated robot."""
    run(SimRobotNode)
