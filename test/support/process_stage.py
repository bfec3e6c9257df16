# SPDX-License-Identifier: Apache-2.0
"""Node processes under test, with a robot that follows its controllers and scripted chunks.

The robot follows the ported joint_trajectory_controllers of the SO-101 without lag.
"""

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock as NodeClock
from rclpy.clock import ClockType
from rclpy.executors import SingleThreadedExecutor
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from groot_ros.bridge import qos
from groot_ros.bridge.messages import chunk_to_msg, ns_to_time
from groot_ros.core import ActionChunk, ActionGroup, ActionKind, s_to_ns, time_to_ns
from groot_ros.msg import ActionChunk as ActionChunkMsg
from groot_ros.msg import CommittedTimeline, ExecutorState, PolicyStatus
from groot_ros.robot import load_contract
from groot_ros.sim.controllers import TrajectoryController
from groot_ros.sim.trajectory import TrajectoryMessage, TrajectoryPoint
from support.policy_stage import TIMEOUT, Inbox, answer_of, rgb_image, wait_until

CONTRACT = load_contract(Path(__file__).parents[2] / "config" / "robots" / "so101.yaml")
JOINTS = CONTRACT.joint_names
DT = CONTRACT.action_dt
HOME = 0.25
PERIOD = 0.01
#: Options of NodeProcess that remap a name instead of setting a parameter.
_REMAPPED = ("__node", "executor_state", "action_chunk")


class Robot:
    """Joints at the commands of their controllers; tests switch parts of it off."""

    def __init__(self, stage: "ProcessStage") -> None:
        node, self._stage = stage.node, stage
        self.position = dict.fromkeys(JOINTS, HOME)
        self.silent: set[str] = set()
        self.rejects_commands = False
        self.has_stray_joint = False
        self._due_ns = 0
        self.commands: list[tuple[int, np.ndarray]] = []
        self.received = Counter[str]()
        self._controllers = {}
        for each in CONTRACT.controllers:
            self._controllers[each.name] = TrajectoryController(each.joints, period=PERIOD)
            node.create_subscription(
                JointTrajectory,
                each.topic,
                lambda msg, name=each.name: self._accept(name, msg),
                qos.COMMAND,
            )
        self._joints = node.create_publisher(JointState, "joint_states", qos.DRIVER)
        self._cameras = {
            view: node.create_publisher(Image, camera.topic, qos.DRIVER)
            for view, camera in CONTRACT.cameras.items()
        }

    def _accept(self, name: str, msg: JointTrajectory) -> None:
        if self.rejects_commands:
            return
        self.received[name] += 1
        points = [
            TrajectoryPoint(
                p.time_from_start.sec * 1_000_000_000 + p.time_from_start.nanosec,
                p.positions,
                p.velocities,
            )
            for p in msg.points
        ]
        message = TrajectoryMessage(time_to_ns(msg.header.stamp), msg.joint_names, points)
        self._controllers[name].accept(message, self._stage.now_ns)

    def cycle(self) -> None:
        """Run every control period that is due, so that a busy machine does not slow the robot."""
        now = self._stage.now_ns
        if abs(now - self._due_ns) > 1_000_000_000:
            self._due_ns = now
        while self._due_ns <= now:
            for controller in self._controllers.values():
                held = [self.position[joint] for joint in controller.joints]
                command = controller.update(self._due_ns, held, np.zeros(len(held)))
                self.position.update(zip(controller.joints, command.tolist(), strict=True))
            rows = np.array([self.position[joint] for joint in JOINTS])
            self.commands.append((self._due_ns, rows))
            self._due_ns += s_to_ns(PERIOD)
        if "joints" not in self.silent:
            msg = JointState(name=list(JOINTS), position=list(self.position.values()))
            if self.has_stray_joint:
                msg.name = [*msg.name, "one_too_many"]
            msg.header.stamp = ns_to_time(now)
            self._joints.publish(msg)

    def publish_images(self) -> None:
        for view, publisher in self._cameras.items():
            if view not in self.silent:
                image = rgb_image(50)
                image.header.stamp = ns_to_time(self._stage.now_ns)
                publisher.publish(image)


class Policy:
    """Sends chunks that move the arm about its home; tests make it late, wrong or silent."""

    def __init__(self, stage: "ProcessStage", session: str = "a") -> None:
        self._stage = stage
        self.session = session
        self.on = False
        self.latency = 0.1
        self.amplitude = 0.2
        self.steps = 16
        self.modify = lambda msg: None
        self._ids = 0
        self._publisher = stage.node.create_publisher(ActionChunkMsg, "action_chunk", qos.COMMAND)
        self._end: float | None = None

    def publish_chunk(self) -> None:
        if not self.on:
            return
        self._ids += 1
        stamp = self._stage.now_ns - s_to_ns(self.latency)
        t = (stamp - self._stage.began_ns) / 1e9 + DT * np.arange(self.steps)[:, None]

        def motion(joints: int) -> np.ndarray:
            return HOME + self.amplitude * np.sin(2 * np.pi * 0.3 * t + np.zeros(joints))

        groups = tuple(
            ActionGroup(
                ActionKind.JOINT_POSITION,
                name,
                g.joints,
                ("rad",) * len(g.joints),
                motion(len(g.joints)),
            )
            for name, g in CONTRACT.action_groups.items()
        )
        chunk = ActionChunk(
            stamp, stamp, DT, groups, session=self.session, id=self._ids, instruction_id=1
        )
        msg = chunk_to_msg(chunk)
        self.modify(msg)
        self._publisher.publish(msg)

    @property
    def subscribers(self) -> int:
        return self._publisher.get_subscription_count()


class NodeProcess:
    """Process of `python -m groot_ros.nodes <name>`, or of a script, with autostart."""

    def __init__(self, name: str, log: Path, parameters: dict, script: Path | None = None) -> None:
        self.log = log
        given = {"robot": "so101", "autostart": "true", **parameters}
        flag = {k: "-r" if k in _REMAPPED else "-p" for k in given}
        arguments = [a for k, v in given.items() for a in (flag[k], f"{k}:={v}")]
        what = ["-m", "groot_ros.nodes", name] if script is None else [str(script)]
        command = [sys.executable, *what, "--ros-args", *arguments]
        with log.open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> int:
        """Wait for its end; return the exit status."""
        return self._process.wait(TIMEOUT)

    def interrupt(self) -> None:
        """Send SIGINT, as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(15.0)
        except subprocess.TimeoutExpired:
            self.kill()


class ProcessStage:
    """Robot and observer in this process; each node under test in another one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[NodeProcess] = []
        self.jump_ns = 0
        self._stopped_ns: int | None = None
        self.began_ns = time.time_ns()
        rclpy.init()
        node = self.node = rclpy.create_node("stage")
        self.states, self.timelines, self.chunks, self.statuses = (Inbox() for _ in range(4))
        self.diagnostics = Inbox()
        for kind, topic, inbox, profile in (
            (ExecutorState, "executor_state", self.states, qos.LATCHED),
            (CommittedTimeline, "committed_timeline", self.timelines, qos.CHUNKS),
            (ActionChunkMsg, "action_chunk", self.chunks, qos.CHUNKS),
            (PolicyStatus, "policy_status", self.statuses, qos.LATCHED),
            (DiagnosticArray, "/diagnostics", self.diagnostics, qos.DRIVER),
        ):
            node.create_subscription(kind, topic, inbox.put, profile)
        self._clock = node.create_publisher(Clock, "/clock", qos.DRIVER)
        self.robot = Robot(self)
        self.policies = [Policy(self)]
        steady = NodeClock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(PERIOD, self._cycle, clock=steady)
        node.create_timer(1 / 30, self.robot.publish_images, clock=steady)
        node.create_timer(0.2, lambda: [p.publish_chunk() for p in self.policies], clock=steady)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="stage")
        self._thread.start()

    @property
    def now_ns(self) -> int:
        return time.time_ns() + self.jump_ns if self._stopped_ns is None else self._stopped_ns

    def stop_clock(self) -> None:
        """Stop publishing /clock, as a paused simulation does."""
        self._stopped_ns = self.now_ns

    def start_clock(self) -> None:
        """Continue the clock from where it was stopped."""
        self.jump_ns = self._stopped_ns - time.time_ns()
        self._stopped_ns = None

    @property
    def policy(self) -> Policy:
        return self.policies[0]

    def start(self, name: str, *, script: Path | None = None, **parameters) -> NodeProcess:
        log = self._folder / f"{name}.log"
        self._processes.append(NodeProcess(name, log, parameters, script))
        return self._processes[-1]

    def start_executor(self, **options) -> NodeProcess:
        """Start an executor, and wait until it is connected to the robot."""
        before = len(self.states)
        process = self.start("executor_node", **{"discovery_timeout": 0.0, **options})
        self.states.wait(after=before)
        wait_until(lambda: self.policy.subscribers >= 2, "the executor has subscribed to chunks")
        return process

    def run(self) -> ExecutorState:
        """Let the scripted policy send chunks until the robot runs."""
        self.policy.on = True
        return self.wait(ExecutorState.RUNNING)

    def wait(self, status: int, reason: str = "", rejected: str = "") -> ExecutorState:
        """Wait for a state with this status, reason text and rejection, and return it.

        The newest state that was already received counts, too.
        """
        return self.states.wait(
            lambda s: (
                s.status == status
                and reason in s.reason
                and (not rejected or rejected in [r.code for r in s.rejections])
            ),
            after=max(0, len(self.states) - 1),
        )

    def stays(self, status: int, reports: int = 8) -> None:
        """Check that this many further reports have this status, and none has another.

        Underruns are not counted, because a busy machine can delay this script.
        """
        seen = len(self.states)

        def reported() -> list[ExecutorState]:
            late = "no chunk came in time"
            return [
                s for s in self.states.all()[seen:] if s.status == status or late not in s.reason
            ]

        wait_until(lambda: len(reported()) >= reports, "the executor reports")
        wrong = [(s.status, s.reason) for s in reported() if s.status != status]
        assert not wrong, wrong

    def diagnosed(self, name: str, text: str) -> bytes:
        """Return the level of the first diagnostic status with this name and text."""
        array = self.diagnostics.wait(
            lambda d: any(s.name == name and text in s.message for s in d.status)
        )
        return next(s.level for s in array.status if s.name == name)

    def trigger(self, service: str):
        client = self.node.create_client(Trigger, service)
        assert client.wait_for_service(TIMEOUT)
        return answer_of(client.call_async(Trigger.Request()))

    def hold(self, service: str):
        client = self.node.create_client(SetBool, service)
        assert client.wait_for_service(TIMEOUT)
        return answer_of(client.call_async(SetBool.Request(data=True)))

    def steps_since(self, since_ns: int) -> SimpleNamespace:
        """Return the largest step of a command since then in rad, and whether it rests now."""
        rows = np.array([p for t, p in self.robot.commands if t >= since_ns])
        return SimpleNamespace(
            step=float(np.abs(np.diff(rows, axis=0)).max()),
            at_rest=bool((rows[-3:] == rows[-1]).all()),
        )

    def log(self, name: str) -> str:
        return (self._folder / f"{name}.log").read_text()

    def end(self) -> None:
        for process in self._processes:
            process.end()
        self._ended.set()
        self._thread.join()
        self.node.destroy_node()
        rclpy.shutdown()

    def _cycle(self) -> None:
        if self._stopped_ns is None:
            self._clock.publish(Clock(clock=ns_to_time(self.now_ns)))
        self.robot.cycle()

    def _spin(self) -> None:
        spinner = SingleThreadedExecutor()
        spinner.add_node(self.node)
        while not self._ended.is_set():
            spinner.spin_once(timeout_sec=0.05)
        spinner.shutdown()
