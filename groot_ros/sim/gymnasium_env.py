# SPDX-License-Identifier: Apache-2.0
"""The tasks at the table as Gymnasium environments.

import gymnasium, groot_ros.sim.gymnasium_env
env = gymnasium.make("groot_ros/pick_place-v0")
"""

from numbers import Integral
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from groot_ros.sim.arm import SimulatedArm
from groot_ros.sim.camera import CameraRenderer
from groot_ros.sim.judge import Judge
from groot_ros.sim.model import shipped_model
from groot_ros.sim.table import ROBOT, Scene
from groot_ros.sim.table_expert import STEP, TableExpert
from groot_ros.sim.tasks import load_table_task, table_task_names

#: Control period, s.
_PERIOD = 0.004
_VIEWS = ("front", "wrist")

Observation = dict[str, Any]


class TableEnv(gymnasium.Env[Observation, NDArray[np.float64]]):
    """One task: an action is the joint positions, rad, that the arm has 0.1 s later.

    An observation has an image of each camera, the measured joint positions `state` [6] rad, and
    the `instruction`. The reward is 1 in the step in which the instruction is fulfilled, which ends
    the episode, else 0. `info` has `success` and `wrong_touches`, the colours of other cubes that
    the hand has touched. `reset` accepts the option "instruction".

    Args:
        task: reach, push or pick_place.
        size: (width, height) of the images.
        render_mode: "rgb_array" or None; `render` returns the image of the front camera.

    Raises:
        ValueError: there is no such task or mode, or the size is not of an image.

    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": round(1 / STEP)}  # noqa: RUF012

    def __init__(
        self, task: str, size: tuple[int, int] = (128, 128), render_mode: str | None = None
    ) -> None:
        self.task = load_table_task(task)
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode must be None or 'rgb_array', not {render_mode!r}")
        if len(size) != 2 or not all(isinstance(n, Integral) and n > 0 for n in size):
            raise ValueError(f"size must be (width, height) in pixels, not {size!r}")
        self.render_mode = render_mode
        self._arm = SimulatedArm(_PERIOD, shipped_model(ROBOT))
        self._renderer = CameraRenderer(self._arm.model, *size)
        low, high = self._arm.limits.T
        image = spaces.Box(0, 255, (size[1], size[0], 3), np.uint8)
        longest = max(len(text) for text in self.task.instructions)
        self.action_space = spaces.Box(low, high, dtype=np.float64)
        self.observation_space = spaces.Dict(
            {
                **{view: image for view in _VIEWS},
                # The servos may be pressed slightly beyond their limits.
                "state": spaces.Box(low - 0.1, high + 0.1, dtype=np.float64),
                "instruction": spaces.Text(longest, charset="abcdefghijklmnopqrstuvwxyz "),
            }
        )
        self._scene: Scene | None = None
        self._judge: Judge | None = None
        self._command = self._arm.positions

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode in a random scene.

        Raises:
            ValueError: the instruction is of another task, or there is no such option.

        """
        super().reset(seed=seed)
        options = options or {}
        if unknown := sorted(options.keys() - {"instruction"}):
            raise ValueError(f"there is no option '{unknown[0]}', only 'instruction'")
        self._scene = self.task.scene(self.np_random, options.get("instruction"))
        self._scene.apply(self._arm)
        self._judge = self.task.judge(self._arm.model, self._scene)
        self._command = self._arm.positions
        return self._observation(), self._info()

    def step(
        self, action: NDArray[np.float64]
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Move to joint positions [6] rad within 0.1 s; a value that is not finite keeps a joint.

        Raises:
            RuntimeError: `reset` was not called.
            ValueError: the action does not have a value for each joint.

        """
        if self._judge is None:
            raise RuntimeError("call reset() before step()")
        before = self._command
        if np.shape(action) != before.shape:
            raise ValueError(
                f"an action has {len(before)} joint positions, rad, not shape {np.shape(action)}"
            )
        fulfilled_before = self._judge.succeeded
        target = np.where(np.isfinite(action), action, before)
        cycles = round(STEP / _PERIOD)
        for cycle in range(cycles):
            self._arm.command(before + (cycle + 1) / cycles * (target - before))
            self._arm.step()
            self._judge.observe(self._arm)
        self._command = np.clip(target, *self._arm.limits.T)
        success = self._judge.succeeded
        late = self._arm.time_ns >= self.task.seconds * 1e9
        reward = float(success and not fulfilled_before)
        return self._observation(), reward, success, late and not success, self._info()

    def render(self) -> NDArray[np.uint8] | None:  # type: ignore[override]
        """Return the image of the front camera, uint8 RGB [H, W, 3]."""
        if self.render_mode is None:
            return None
        return self._renderer.render(self._arm.scene, "front")

    def expert(self) -> TableExpert:
        """Return a scripted expert for the present episode; see `expert_action`."""
        if self._scene is None:
            raise RuntimeError("call reset() before expert()")
        return self.task.expert(self._arm.model, self._scene)

    def expert_action(self, expert: TableExpert) -> NDArray[np.float64]:
        """Return the action that the expert takes now."""
        return expert.next_command(self._command, self._arm)

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()

    def _observation(self) -> Observation:
        assert self._scene is not None
        scene = self._arm.scene
        images = {view: self._renderer.render(scene, view) for view in _VIEWS}
        return {**images, "state": self._arm.positions, "instruction": self._scene.instruction}

    def _info(self) -> dict[str, Any]:
        assert self._judge is not None
        return {
            "success": self._judge.succeeded,
            "wrong_touches": sorted(self._judge.wrong_touches),
        }


for _name in table_task_names():
    gymnasium.register(
        f"groot_ros/{_name}-v0",
        entry_point="groot_ros.sim.gymnasium_env:TableEnv",
        kwargs={"task": _name},
    )
