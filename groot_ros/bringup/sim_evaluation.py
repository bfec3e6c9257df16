# SPDX-License-Identifier: Apache-2.0
"""Success of a policy in the simulator through the real nodes: three processes over DDS.

Time is real time, so the figures include the latencies of this machine. The fast way, and the one
with added delays and other disturbances, is `groot_ros.rollout.evaluate`.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from tqdm import tqdm

from groot_ros.bridge.sim_client import SimClient
from groot_ros.bringup.node_graph import Graph, demo_graph
from groot_ros.bringup.supervisor import Supervisor
from groot_ros.core.share import robot_path
from groot_ros.robot import load_contract
from groot_ros.rollout.closed_loop import LoopSettings
from groot_ros.rollout.evaluate import EXPERT, EpisodeOutcome, Evaluation, EvaluationSettings
from groot_ros.sim.table import ROBOT
from groot_ros.sim.tasks import load_table_task

#: s until the nodes answer, which includes loading the model, and between looks at their state.
_START_TIMEOUT, _POLL = 120.0, 0.05
#: s that a scene may take longer than the task allows, for the way of the messages.
_GRACE = 1.0
#: s after which a motion that was stopped has ended.
_STOP_TIMEOUT = 5.0
#: s within which the executor latches a robot that does not follow.
_FAULT_TIME = 0.8


def evaluate_nodes(settings: EvaluationSettings, episodes: int, label: str = "") -> Evaluation:
    """Run episodes through the nodes and return their outcomes.

    Raises:
        ValueError: the settings ask for something that only the closed loop in one process has.
        RuntimeError: a node died or does not answer.

    """
    _require_supported(settings)
    with _running(settings) as runner:
        runner.wait_for_policy(load_table_task(settings.task).instructions[0])
        outcomes = []
        bar = tqdm(total=episodes, desc=label, unit="episode", file=sys.stderr, disable=None)
        with bar:
            for number in range(1, episodes + 1):
                outcomes.append(runner.run_scene())
                bar.update()
                if bar.disable:
                    print(f"{label} {number}/{episodes}", file=sys.stderr, flush=True)
    return Evaluation(outcomes)


def _require_supported(settings: EvaluationSettings) -> None:
    loop, plain = settings.loop, LoopSettings()
    if settings.policy == EXPERT:
        raise ValueError("--real-nodes needs a checkpoint: the expert is no policy node")
    wanted = {
        "a delay": loop.delay != plain.delay,
        "lost frames": loop.camera_dropout != plain.camera_dropout,
        "an encoder error": loop.joint_offset != plain.joint_offset,
        "moved cameras": bool(settings.camera_shift),
        "videos": settings.videos is not None,
    }
    if missing := [name for name, is_wanted in wanted.items() if is_wanted]:
        raise ValueError(f"--real-nodes cannot have {', '.join(missing)}: leave it out")


@contextmanager
def _running(settings: EvaluationSettings) -> Iterator["SceneRunner"]:
    with TemporaryDirectory() as folder:
        supervisor = Supervisor(_graph(settings, Path(folder)), lambda line: None)
        try:
            supervisor.start()
            with SimClient(load_contract(robot_path(ROBOT))) as client:
                yield SceneRunner(supervisor, client)
        finally:
            supervisor.stop()


def _graph(settings: EvaluationSettings, folder: Path) -> Graph:
    loop = settings.loop
    width, height = settings.size
    parameters: dict[str, dict[str, Any]] = {
        "policy_node": {"rate_hz": loop.rate_hz, "rtc.mode": loop.rtc_mode},
        "executor_node": {"blend_window": loop.executor.blend_window},
    }
    options = {name: str(value) for name, value in settings.policy_options.items()}
    if "dtype" in options:
        # Not a launch argument.
        parameters["policy_node"]["dtype"] = options.pop("dtype")
    file = folder / "parameters.yaml"
    file.write_text(
        yaml.safe_dump({f"/**/{n}": {"ros__parameters": own} for n, own in parameters.items()}),
        encoding="utf-8",
    )
    values = {
        **options,
        "checkpoint": settings.policy,
        "robot": ROBOT,
        "params_file": str(file),
    }
    simulation = {"task": settings.task, "image_width": width, "image_height": height}
    return demo_graph(values, seed=settings.seed, simulation=simulation)


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

    def wait_for_policy(self, instruction: str, timeout: float = _START_TIMEOUT) -> None:
        """Wait until a chunk for this instruction was executed: loading the model is in no scene.

        Raises:
            RuntimeError: a node died, or there is no such chunk within `timeout` s.

        """
        client = self._client
        client.instruct(instruction)
        if not self._wait(lambda: bool(client.chunks), timeout):
            reasons = client.snapshot().policy_rejections
            counts = ", ".join(f"{reason} x{count}" for reason, count in reasons.items())
            raise RuntimeError(
                f"no chunk was executed within {timeout:.0f} s; "
                f"rejections of the policy: {counts or 'none'}"
            )

    def run_scene(self, begun: Callable[[str], None] = lambda instruction: None) -> EpisodeOutcome:
        """Begin the next scene and run it until it succeeds or its time is over.

        Args:
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
        # The robot was put somewhere else, which may look like one that does not follow.
        if self._wait(lambda: bool(client.latched), _FAULT_TIME):
            client.resume()
        client.chunks.clear()
        client.restart_travel()
        rejected = dict(client.rejections)
        began = time.process_time()
        begun(instruction)
        given = time.monotonic()
        client.instruct(instruction)
        allowed = float(client.episode["seconds_allowed"]) + _GRACE
        self._wait(lambda: bool(client.episode["success"]), allowed)
        seconds = time.monotonic() - given
        episode = client.episode
        return EpisodeOutcome(
            index=int(episode["index"]),
            instruction=instruction,
            success=bool(episode["success"]),
            # Not that of the judge, whose clock runs since the scene began.
            seconds=seconds if episode["success"] else None,
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
