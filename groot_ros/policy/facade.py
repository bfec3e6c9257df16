"""From an observation to a chunk, with one checkpoint and one engine."""

import secrets
import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from groot_ros.core import ActionChunk, ActionGroup, Observation, Prefix, RtcMode, s_to_ns
from groot_ros.models.gr00t_n1d6 import Gr00tN1d6Config, draw_noise
from groot_ros.processing import (
    ModelInputs,
    Processor,
    Sample,
    collate,
)
from groot_ros.processing.robot_columns import RobotColumns
from groot_ros.robot import RobotContract
from groot_ros.runtime.engine import Engine, PrefixInput
from groot_ros.runtime.oracle import ReferenceOutputs, ValidationResult

#: Seconds between actions where no robot contract says it.
DEFAULT_ACTION_DT = 1.0 / 30.0


class InferenceError(RuntimeError):
    """The model's output cannot be used; nothing of it became a chunk."""


class Policy:
    """One checkpoint, one embodiment, one engine, perhaps one robot.

    Attributes:
        embodiment: the tag.
        checkpoint_hash: see `models.digest`.
        num_inference_steps: denoising steps; may be changed between inferences.
        action_dt: seconds between the actions of the training data.
        dt: seconds between the steps of a chunk (the same, unless the checkpoint skips actions).
        notes: why it runs the engine that it runs, a line each.
        warnings: those among them that somebody should mend.
        verdict: of the engine's proof, None where nothing is stored to prove it with.

    """

    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    verdict: ValidationResult | None = None

    def __init__(
        self,
        processor: Processor,
        engine: Engine,
        config: Gr00tN1d6Config,
        *,
        robot: RobotContract | None = None,
        checkpoint_hash: str = "",
        num_inference_steps: int | None = None,
        action_dt: float = DEFAULT_ACTION_DT,
    ) -> None:
        self.processor = processor
        self.engine = engine
        self.config = config
        self.robot = robot
        self.embodiment = processor.tag
        self.checkpoint_hash = checkpoint_hash
        self.num_inference_steps = num_inference_steps or config.num_inference_timesteps
        deltas = processor.embodiment.action.delta_indices
        self._first_step, spacing = deltas[0], processor.config.action_spacing(processor.tag)
        self.action_dt = action_dt if robot is None else robot.action_dt
        self.dt = self.action_dt * spacing
        self._columns = RobotColumns(processor, robot)

    @property
    def views(self) -> tuple[str, ...]:
        """Cameras that an observation must hold, in the model's order."""
        return self.processor.views

    @property
    def history(self) -> dict[str, tuple[int, ...]]:
        """Modality ("video", "state") -> steps of `action_dt` relative to now, oldest first."""
        embodiment = self.processor.embodiment
        return {
            "video": embodiment.video.delta_indices,
            "state": embodiment.state.delta_indices,
        }

    @property
    def state_groups(self) -> dict[str, int]:
        """State group -> columns."""
        return dict(self.processor.codec.state_widths)

    @property
    def action_groups(self) -> dict[str, int]:
        """Action group -> columns."""
        return dict(self.processor.codec.action_widths)

    @property
    def joint_groups(self) -> tuple[str, ...]:
        """Action groups whose columns are joints, not the pose of a link."""
        return tuple(g for g in self.action_groups if not self.processor.codec.is_pose(g))

    @property
    def horizon(self) -> int:
        """Steps of a chunk."""
        return self.processor.codec.horizon

    @property
    def first_step(self) -> float:
        """Seconds from the observation to the first step of its chunk."""
        return self._first_step * self.action_dt

    @property
    def device(self) -> str:
        """Where the model runs, in words."""
        return self.engine.device

    @property
    def memory_bytes(self) -> int:
        """Memory held on the device."""
        return self.engine.memory_bytes

    def infer(
        self, observation: Observation, prefix: Prefix | None = None, seed: int | None = None
    ) -> ActionChunk:
        """What to do from this observation on.

        Args:
            observation: state in rad and m where the policy has a robot contract, else in the
                checkpoint's units.
            prefix: committed motion to continue, in the units of the chunk.
            seed: of the noise; drawn if None, and written into the chunk either way.

        Raises:
            ValueError: the observation does not fit the checkpoint.
            InferenceError: the model's output is not finite.

        """
        started = time.perf_counter()
        seed = secrets.randbits(63) if seed is None else seed
        inputs, state = self.encode(observation)
        shape = (1, self.config.action_horizon, self.config.max_action_dim)
        noise = draw_noise(shape, seed).numpy()
        conditioning = None if prefix is None else self._conditioning(prefix, state)
        encoded = time.perf_counter()

        result = self.engine.run(inputs, noise, self.num_inference_steps, conditioning)
        ran = time.perf_counter()

        used = sum(self.action_groups.values())
        _require_finite(result.actions[:, : self.horizon, :used])
        frozen = 0 if prefix is None else prefix.frozen_steps
        groups = self.decode(result.actions[0], state, frozen)
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
            embodiment=self.embodiment,
            engine=self.engine.name,
            inputs=observation.inputs,
            stage_seconds={
                "preprocess": encoded - started,
                "backbone": result.backbone_seconds,
                "head": result.head_seconds,
                "decode": time.perf_counter() - ran,
            },
        )

    def encode(
        self, observation: Observation
    ) -> tuple[ModelInputs, dict[str, NDArray[np.float64]]]:
        """What the engine takes, a batch of one, and the state in the checkpoint's units.

        Raises ValueError where the observation does not fit the checkpoint.
        """
        state = self._columns.to_model(observation.state)
        sample = Sample(observation.images, state, observation.instruction)
        self._require_history(sample)
        return collate([self.processor.encode(sample)], self.processor.tokenizer.pad_id), state

    def decode(
        self,
        actions: NDArray[np.float32],
        state: Mapping[str, NDArray[np.float64]],
        frozen_steps: int = 0,
    ) -> tuple[ActionGroup, ...]:
        """Normalised actions [H, A] and the state from `encode` to targets, rad and m."""
        decoded = self.processor.decode(actions, state, frozen_steps)
        return tuple(
            self._columns.action_group(name, values.astype(float))
            for name, values in decoded.items()
        )

    def prove(self, oracle: ReferenceOutputs, steps: int, tolerance: float) -> ValidationResult:
        """How far this policy's engine is from stored answers; see `ReferenceOutputs.prove`."""
        used = self.horizon, sum(self.action_groups.values())

        def joints(
            actions: NDArray[np.float32], state: Mapping[str, NDArray[np.float64]]
        ) -> dict[str, NDArray[np.float64]]:
            return {group.name: group.values for group in self.decode(actions, state)}

        return oracle.prove(self.engine, steps, tolerance, used, joints)

    def warm_up(self, height: int = 480, width: int = 640) -> None:
        """One run on an empty scene of this size, so that the first real one is not slow."""
        embodiment = self.processor.embodiment
        frame = np.zeros((len(embodiment.video.delta_indices), height, width, 3), dtype=np.uint8)
        steps = len(embodiment.state.delta_indices)
        state = {group: self.processor.codec.rest(group, steps) for group in self.state_groups}
        sample = Sample(dict.fromkeys(self.views, frame), state, "")
        encoded = self.processor.encode(sample)
        inputs = collate([encoded], self.processor.tokenizer.pad_id)
        self.engine.prepare(inputs, self.num_inference_steps)

    def close(self) -> None:
        """Give the device's memory back; the policy cannot infer any more."""
        self.engine.close()

    def _require_history(self, sample: Sample) -> None:
        steps = len(self.processor.embodiment.state.delta_indices)
        for group in self.state_groups:
            if group in sample.state and len(sample.state[group]) != steps:
                raise ValueError(
                    f"state group '{group}' has {len(sample.state[group])} steps, "
                    f"the checkpoint takes {steps}"
                )

    def _conditioning(
        self, prefix: Prefix, state: Mapping[str, NDArray[np.float64]]
    ) -> PrefixInput:
        values = self._columns.to_model(prefix.values)
        action, known = self.processor.codec.encode_prefix(values, state)
        steps = len(prefix.start)
        total, width = self.config.action_horizon, self.config.max_action_dim
        columns = np.flatnonzero(known)

        def spread(given: NDArray[np.floating], beyond: float) -> NDArray[np.float32]:
            """[K] to [1, H, A]; other columns and later steps stay neutral."""
            array = np.full((1, total, width), beyond, dtype=np.float32)
            array[0, :steps, columns] = given
            return array

        clean = np.zeros((1, total), dtype=np.float32)
        clean[0, :steps] = prefix.clean
        padded = np.zeros((1, total, width), dtype=np.float32)
        padded[0, :steps, : len(known)] = action
        return PrefixInput(
            prefix=padded,
            start=spread(prefix.start, 0.0),
            weight=spread(prefix.weight, 0.0),
            strength=spread(prefix.strength, 1.0),
            clean=clean,
        )


def _require_finite(actions: NDArray[np.float32]) -> None:
    bad = np.argwhere(~np.isfinite(actions))
    if len(bad):
        _, step, column = bad[0]
        raise InferenceError(
            f"the model's output is not finite at {len(bad)} places, first at step {step}, "
            f"column {column}: {actions[tuple(bad[0])]}"
        )
