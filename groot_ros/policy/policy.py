# SPDX-License-Identifier: Apache-2.0
"""Compute action chunks from observations, with one checkpoint and one engine."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import ActionChunk, ActionGroup, Observation, Prefix, RtcMode, s_to_ns
from groot_ros.core.program import ModelInputs
from groot_ros.families.family import Checkpoint, PolicySpec
from groot_ros.policy.robot_columns import RobotColumns
from groot_ros.robot import RobotContract
from groot_ros.runtime.engine import Engine
from groot_ros.runtime.reference_outputs import ReferenceOutputs, ValidationResult

#: Seconds between actions where no robot contract defines them.
DEFAULT_ACTION_DT = 1.0 / 30.0
#: s: a first run that takes longer is not repeated for the estimate of the latency. The first run
#: may capture graphs or compile, so it is no estimate for a fast engine.
_LONG_RUN = 20.0


class InferenceError(RuntimeError):
    """The model's output cannot be used, so there is no chunk."""


class Policy:
    """One checkpoint, one embodiment, one engine, and optionally one robot.

    Attributes:
        checkpoint: the checkpoint without its weights.
        engine: engine that runs the checkpoint.
        robot: robot contract, or None.
        checkpoint_hash: see `Checkpoint.digest`.
        num_inference_steps: number of denoising steps; may be changed between inferences.
        action_dt: time between the actions of the training data, s.
        dt: time between the steps of a chunk, s: `action_dt`, or a multiple of it if the checkpoint
            skips actions.
        notes: why this engine was selected, one line per engine that was considered.
        warnings: the notes that need attention.
        validation: result of the engine's validation, None without reference outputs.

    """

    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    validation: ValidationResult | None = None

    def __init__(
        self,
        checkpoint: Checkpoint,
        engine: Engine,
        *,
        robot: RobotContract | None = None,
        checkpoint_hash: str = "",
        num_inference_steps: int | None = None,
        action_dt: float = DEFAULT_ACTION_DT,
    ) -> None:
        self.checkpoint = checkpoint
        self.engine = engine
        self.robot = robot
        self.checkpoint_hash = checkpoint_hash
        self.num_inference_steps = num_inference_steps or checkpoint.spec.sampling_steps
        self.action_dt = action_dt if robot is None else robot.action_dt
        self.dt = self.action_dt * checkpoint.spec.step_spacing
        self._processor = checkpoint.processor
        self._columns = RobotColumns(checkpoint.spec, robot)
        self._session = self._processor.new_session()

    @property
    def spec(self) -> PolicySpec:
        """Return the specification of the checkpoint's inputs and outputs."""
        return self.checkpoint.spec

    @property
    def joint_groups(self) -> tuple[str, ...]:
        """Return the action groups that move joints, not the pose of a link."""
        return tuple(
            group
            for group, space in self.spec.action_space.items()
            if space == "joint" and self._columns.moves(group)
        )

    @property
    def first_step(self) -> float:
        """Return the time from the observation to the first step of its chunk, s."""
        return self.spec.first_step * self.action_dt

    @property
    def device(self) -> str:
        """Return a description of the engine's device, such as "cuda:0 (name of the GPU)"."""
        return self.engine.device

    @property
    def memory_bytes(self) -> int:
        """Return the memory held on the device."""
        return self.engine.memory_bytes

    def reset(self) -> None:
        """Begin a new session, in which a stateful model does not use earlier observations."""
        self._session = self._processor.new_session()

    def infer(
        self,
        observation: Observation,
        prefix: Prefix | None = None,
        seed: int | None = None,
        session: Any = None,
    ) -> ActionChunk:
        """Return the actions that follow an observation.

        Args:
            observation: state in rad and m if the policy has a robot contract, else in the
                checkpoint's units.
            prefix: committed motion to continue, in the units of the chunk.
            seed: seed of the noise, drawn if None; the chunk stores it.
            session: session of a stateful model, see `new_session`; by default the policy's own.

        Raises:
            ValueError: the observation does not fit the checkpoint, or a prefix is given and the
                model family does not support it.
            InferenceError: the model's output is not finite.

        """
        started = time.perf_counter()
        seed = secrets.randbits(63) if seed is None else seed
        session = self._session if session is None else session
        inputs, state = self.encode(observation, session)
        inputs = {**inputs, **self._processor.draw(seed)}
        if prefix is not None:
            if not self.spec.supports_prefix:
                raise ValueError(
                    f"model family '{self.spec.family}' cannot continue committed motion: set "
                    "rtc.mode to off"
                )
            converted = self._columns.prefix_to_model(prefix.values, observation.state)
            inputs |= self._processor.condition(replace(prefix, values=converted), state)
        encoded = time.perf_counter()

        result = self.engine.run(inputs, self.num_inference_steps)
        ran = time.perf_counter()

        _require_finite(self._processor.used(result.outputs))
        frozen = 0 if prefix is None else prefix.frozen_steps
        groups = self.decode(result.outputs, state, frozen, session=session)
        return ActionChunk(
            stamp_ns=observation.stamp_ns,
            start_ns=observation.stamp_ns + s_to_ns(self.first_step),
            dt=self.dt,
            groups=groups,
            instruction=observation.instruction,
            rtc_mode=RtcMode.OFF if prefix is None else prefix.mode,
            frozen_steps=frozen,
            prefix_id=0 if prefix is None else prefix.id,
            noise_seed=seed,
            checkpoint_hash=self.checkpoint_hash,
            embodiment=self.spec.embodiment,
            engine=self.engine.name,
            inputs=observation.inputs,
            stage_seconds={
                "preprocess": encoded - started,
                **result.seconds,
                "decode": time.perf_counter() - ran,
            },
            overlap_steps=0 if prefix is None else prefix.overlap_steps,
            num_inference_steps=self.num_inference_steps,
        )

    def new_session(self) -> Any:
        """Return a session for `infer`, independent of the policy's own; None if stateless."""
        return self._processor.new_session()

    def encode(
        self, observation: Observation, session: Any = None
    ) -> tuple[ModelInputs, dict[str, NDArray[np.float64]]]:
        """Return the model inputs without random ones, and the state in the checkpoint's units.

        Raises:
            ValueError: the observation does not fit the checkpoint.

        """
        state = self._columns.state_to_model(observation.state)
        steps = len(self.spec.state_history)
        for group in self.spec.state_groups:
            if group in state and len(state[group]) != steps:
                raise ValueError(
                    f"state group '{group}' has {len(state[group])} steps, "
                    f"the checkpoint takes {steps}"
                )
        converted = replace(observation, state=state)
        session = self._session if session is None else session
        return self._processor.encode(converted, session), state

    def decode(
        self,
        outputs: Mapping[str, NDArray[Any]],
        state: Mapping[str, NDArray[np.float64]],
        frozen_steps: int = 0,
        session: Any = None,
    ) -> tuple[ActionGroup, ...]:
        """Convert results of the program to targets.

        They are in rad and m if the policy has a robot contract, else in the checkpoint's units.

        Args:
            outputs: results of the program by name.
            state: the state that `encode` returned.
            frozen_steps: number of leading steps that repeat committed motion.
            session: session that a stateful family updates; None to update none.

        """
        decoded = self._processor.decode(outputs, state, frozen_steps=frozen_steps, session=session)
        return tuple(
            self._columns.action_group(name, values.astype(float))
            for name, values in decoded.items()
            if self._columns.moves(name)
        )

    def example(
        self,
        sizes: Mapping[str, tuple[int, int]],
        instruction: str = "",
        rng: np.random.Generator | None = None,
    ) -> Observation:
        """Return a valid observation in this policy's units; see `Processor.example`."""
        example = self._processor.example(sizes, instruction, rng)
        return replace(example, state=self._columns.state_to_robot(example.state))

    def validate(
        self, reference: ReferenceOutputs, steps: int, tolerance: float
    ) -> ValidationResult:
        """Compare this policy's engine with reference outputs; see `ReferenceOutputs.validate`."""

        def joints(
            outputs: Mapping[str, NDArray[Any]], state: Mapping[str, NDArray[np.float64]]
        ) -> dict[str, NDArray[Any]]:
            return {group.name: group.values for group in self.decode(outputs, state)}

        return reference.validate(self.engine, steps, tolerance, self._processor.used, joints)

    def warm_up(self, height: int = 480, width: int = 640) -> float:
        """Run on example images of this size, so that the first real inference is not slow.

        Returns:
            An estimate of the time of one inference, s: that of a second run, or of the first if
            it took longer than `_LONG_RUN`.

        """
        seconds = self._timed_run(height, width)
        return seconds if seconds > _LONG_RUN else self._timed_run(height, width)

    def _timed_run(self, height: int, width: int) -> float:
        sizes = dict.fromkeys(self.spec.views, (height, width))
        example = self._processor.example(sizes)
        began = time.perf_counter()
        inputs = self._processor.encode(example, self._session)
        inputs = {**inputs, **self._processor.draw(0)}
        self.engine.prepare(inputs, self.num_inference_steps)
        return time.perf_counter() - began

    def close(self) -> None:
        """Release the device's memory; the policy cannot infer afterwards."""
        self.engine.close()


def _require_finite(values: NDArray[Any]) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        at = tuple(int(index) for index in bad[0])
        raise InferenceError(
            f"the model's output is not finite at {len(bad)} places, first at step {at[0]}, "
            f"column {at[-1]}: {values[at]}"
        )
