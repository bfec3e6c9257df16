# SPDX-License-Identifier: Apache-2.0
"""Success of a policy in the simulator through the real nodes over DDS.

Either three processes in real time, so that the figures include the latencies of this machine, or
in lockstep: one process whose simulated time waits for the nodes, which gives the same motion as
`groot_ros.rollout.evaluate`, the fast way without nodes.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from groot_ros.bridge.sim_client import SimClient
from groot_ros.bringup.node_graph import Graph, NodeProcess, demo_graph
from groot_ros.bringup.stepped_run import Progress, run_stepped, write_parameters
from groot_ros.bringup.supervisor import Supervisor
from groot_ros.core.share import robot_path
from groot_ros.robot import load_contract
from groot_ros.rollout.evaluate import (
    EXPERT,
    EpisodeOutcome,
    Evaluation,
    EvaluationSettings,
    FailureVideo,
)
from groot_ros.rollout.simulation import check_policy
from groot_ros.sim.table import ROBOT
from groot_ros.sim.tasks import load_table_task

#: s until the nodes answer, which includes loading the model, and between looks at their state.
_START_TIMEOUT, _POLL = 120.0, 0.05
#: s that a scene may take longer than the task allows, for the way of the messages.
_GRACE = 1.0
#: s of real time that one period of a lockstep may take.
_LOCKSTEP_TIMEOUT = 3600.0
#: s after which a motion that was stopped has ended.
_STOP_TIMEOUT = 5.0
#: s within which the executor latches a robot that does not follow.
_FAULT_TIME = 0.8
#: Options of a policy that are parameters of its node, but no launch arguments.
_NODE_ONLY = {"dtype", "num_inference_steps"}


def evaluate_nodes(settings: EvaluationSettings, episodes: int, label: str = "") -> Evaluation:
    """Run episodes through the nodes in real time and return their outcomes.

    Raises:
        ValueError: the policy is the expert, or does not fit the robot.
        RuntimeError: a node died or does not answer.

    """
    _require_checkpoint(settings)
    with _running(settings) as runner:
        runner.wait_for_policy(load_table_task(settings.task).instructions[0])
        outcomes: list[EpisodeOutcome] = []
        with Progress(label, episodes) as progress:
            for _ in range(episodes):
                outcomes.append(runner.run_scene(settings))
                progress.show(len(outcomes))
    return Evaluation(outcomes)


def evaluate_lockstep(settings: EvaluationSettings, episodes: int, label: str = "") -> Evaluation:
    """Run episodes through the nodes in simulated time that waits for them.

    Raises:
        ValueError: the policy is the expert, or does not fit the robot.
        RuntimeError: the process of the nodes failed.

    """
    _require_checkpoint(settings)
    with TemporaryDirectory() as folder:
        output = Path(folder) / "outcomes.jsonl"
        graph = _lockstep_graph(settings, episodes, Path(folder), output)
        run = run_stepped(graph, output, label, episodes)
        if run.stopped:
            raise KeyboardInterrupt
        return Evaluation([EpisodeOutcome(**result) for result in run.results])


def _require_checkpoint(settings: EvaluationSettings) -> None:
    if settings.policy == EXPERT:
        raise ValueError("--real-nodes needs a checkpoint: the expert is no policy node")
    check_policy(settings.policy, ROBOT, settings.policy_options)


@contextmanager
def _running(settings: EvaluationSettings) -> Iterator["SceneRunner"]:
    contract = load_contract(robot_path(ROBOT))
    camera = "" if settings.videos is None else contract.cameras["front"].topic
    supervisor = Supervisor(_graph(settings), lambda line: None)
    try:
        supervisor.start()
        with SimClient(contract, camera=camera) as client:
            yield SceneRunner(supervisor, client)
    finally:
        supervisor.stop()


def _graph(settings: EvaluationSettings) -> Graph:
    graph, parameters = _nodes(settings, use_sim_time=False)
    processes = tuple(
        replace(process, parameters=parameters[process.executable]) for process in graph.processes
    )
    return replace(graph, processes=processes)


def _lockstep_graph(
    settings: EvaluationSettings, episodes: int, folder: Path, output: Path
) -> Graph:
    graph, parameters = _nodes(settings, use_sim_time=True)
    # Real time has no meaning here, and there is no other graph in the domain.
    parameters["executor_node"] |= {"discovery_timeout": 0.0, "clock_timeout": _LOCKSTEP_TIMEOUT}
    parameters["lockstep_node"] = {
        "task": settings.task,
        "seed": settings.seed,
        "episodes": episodes,
        "camera_shift": settings.camera_shift,
        "videos": "" if settings.videos is None else str(settings.videos),
        "output": str(output),
    }
    environment = {
        name: value for process in graph.processes for name, value in process.environment.items()
    }
    process = NodeProcess(
        "lockstep_node",
        stop_order=0,
        parameter_files=(write_parameters(folder / "lockstep.yaml", parameters),),
        environment=environment,
    )
    return replace(graph, processes=(process,))


def _nodes(
    settings: EvaluationSettings, *, use_sim_time: bool
) -> tuple[Graph, dict[str, dict[str, Any]]]:
    """Return the graph of policy, executor and simulated robot, and the parameters of each."""
    loop = settings.loop
    options = dict(settings.policy_options)
    own_options = {name: options.pop(name) for name in _NODE_ONLY & options.keys()}
    values = {
        **{name: str(value) for name, value in options.items()},
        "checkpoint": settings.policy,
        "robot": ROBOT,
        "use_sim_time": str(use_sim_time).lower(),
    }
    graph = demo_graph(values, seed=settings.seed)
    width, height = settings.size
    own: dict[str, dict[str, Any]] = {
        "policy_node": {
            "rate_hz": loop.rate_hz,
            "rtc.mode": loop.rtc_mode,
            "added_delay": loop.delay,
            **own_options,
        },
        "executor_node": {"blend_window": loop.executor.blend_window},
        "sim_robot_node": {
            "task": settings.task,
            "image_width": width,
            "image_height": height,
            "camera_dropout": loop.camera_dropout,
            "camera_shift": settings.camera_shift,
            "joint_offset": loop.joint_offset,
        },
    }
    return graph, {p.executable: {**p.parameters, **own[p.executable]} for p in graph.processes}


class SceneRunner:
    """Runs scenes of a simulated robot that judges, through running nodes.

    Args:
        supervisor: of the nodes.
        client: of the nodes.
        watch: called while it waits, about 20 times per second; may raise to end the waiting.

    """

    def __init__(
        self, supervisor: Supervisor, client: SimClient, watch: Callable[[], None] = lambda: None
    ) -> None:
        self._supervisor, self._client, self._watch = supervisor, client, watch
        self._watched = -1

    def wait_for_policy(self, instruction: str, timeout: float = _START_TIMEOUT) -> None:
        """Wait until a chunk for this instruction was executed: loading the model is in no scene.

        Raises:
            RuntimeError: a node died, or there is no such chunk within `timeout` s.

        """
        client = self._client
        client.instruct(instruction)
        if not self._wait(lambda: bool(client.chunks), timeout):
            raise RuntimeError(
                f"no chunk was executed within {timeout:.0f} s; "
                f"rejections of the policy: {self._policy_rejections()}"
            )

    def run_scene(
        self,
        settings: EvaluationSettings | None = None,
        begun: Callable[[str], None] = lambda instruction: None,
    ) -> EpisodeOutcome:
        """Begin the next scene and run it until it succeeds or its time is over.

        Args:
            settings: where the videos of failures go; None = no videos.
            begun: called with the instruction before it is given.

        Raises:
            RuntimeError: a node died or does not answer.

        """
        client = self._client
        client.instruct("")
        before = client.episode["index"]
        instruction = client.begin_scene()
        if not self._wait(lambda: client.episode["index"] != before, _STOP_TIMEOUT):
            raise RuntimeError("the simulated robot does not publish its episode")
        self._resume_after_a_jump()
        client.chunks.clear()
        client.restart_travel()
        rejected = dict(client.rejections)
        began = time.process_time()
        video = None
        if settings is not None and settings.videos is not None:
            video = FailureVideo(settings, int(client.episode["index"]))
            client.on_frame = video.add_frame
        begun(instruction)
        given = time.monotonic()
        client.instruct(instruction)
        allowed = float(client.episode["seconds_allowed"]) + _GRACE
        self._wait(lambda: bool(client.episode["success"]), allowed)
        seconds = time.monotonic() - given
        episode = client.episode
        if video is not None:
            client.on_frame = None
            video.close(keep=not episode["success"])
        # Not the time of the judge, whose clock runs since the scene began.
        return self._outcome(seconds if episode["success"] else None, rejected, began)

    def watch_scene(
        self, timeout: float, begun: Callable[[str], None] = lambda instruction: None
    ) -> EpisodeOutcome:
        """Watch a scene that the simulated robot begins and ends by itself.

        Args:
            timeout: s until it ends, in addition to the time that it has.
            begun: called with the text of its prompt.

        Raises:
            RuntimeError: a node died, or the scene does not begin or end.

        """
        client = self._client
        if not self._wait(lambda: client.episode["index"] > self._watched, timeout):
            raise RuntimeError("the simulated robot begins no scene")
        self._watched = int(client.episode["index"])
        self._resume_after_a_jump()
        client.chunks.clear()
        client.restart_travel()
        rejected = dict(client.rejections)
        began = time.process_time()
        begun(str(client.episode["instruction"]))
        allowed = float(client.episode["seconds_allowed"]) + timeout
        if not self._wait(lambda: bool(client.episode["over"]), allowed):
            raise RuntimeError(
                f"'{client.episode['instruction']}' did not end within {allowed:.0f} s; "
                f"rejections of the policy: {self._policy_rejections()}"
            )
        return self._outcome(client.episode["seconds"], rejected, began)

    def _resume_after_a_jump(self) -> None:
        """Resume an executor to which a robot that was put elsewhere does not seem to follow."""
        if self._wait(lambda: bool(self._client.snapshot().latched_stop), _FAULT_TIME):
            self._client.resume()

    def _outcome(
        self, seconds: float | None, rejected: Mapping[str, int], began: float
    ) -> EpisodeOutcome:
        """Return the outcome of the present scene; `rejected` and `began` are from its start."""
        client, episode = self._client, self._client.episode
        return EpisodeOutcome(
            index=int(episode["index"]),
            instruction=str(episode["instruction"]),
            success=bool(episode["success"]),
            seconds=seconds,
            wrong_touches=tuple(episode["wrong_touches"]),
            chunks=len(client.chunks),
            rejections={
                code: count - rejected.get(code, 0)
                for code, count in client.rejections.items()
                if count > rejected.get(code, 0)
            },
            jerk=None,
            cpu_seconds=time.process_time() - began,
        )

    def _policy_rejections(self) -> str:
        reasons = self._client.snapshot().policy_rejections
        return ", ".join(f"{reason} x{count}" for reason, count in reasons.items()) or "none"

    def wait(self, seconds: float) -> None:
        """Let the nodes run on."""
        self._wait(lambda: False, seconds)

    def _wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until the condition holds, for at most so long; return whether it does."""
        deadline = time.monotonic() + seconds
        while not condition():
            if (dead := self._supervisor.dead()) is not None:
                raise RuntimeError(self._supervisor.exit_report(dead))
            if time.monotonic() > deadline:
                return False
            self._watch()
            time.sleep(_POLL)
        return True
