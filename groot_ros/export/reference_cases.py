# SPDX-License-Identifier: Apache-2.0
"""Make reference outputs, from observations, random inputs and committed motion."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from groot_ros.core import Observation
from groot_ros.policy import Policy
from groot_ros.runtime.engine import Engine
from groot_ros.runtime.reference_outputs import Case, ReferenceOutputs

#: Default size of synthetic camera images, (height, width).
IMAGE_SIZE = (480, 640)
#: Instructions of different lengths, so that more than one sequence length is validated.
_INSTRUCTIONS = ("pick up the cube", "put the red block into the box on the left", "stop")

Size = tuple[int, int]


def synthetic_observations(
    policy: Policy, count: int, *, size: Size | Mapping[str, Size] = IMAGE_SIZE, seed: int = 0
) -> list[Observation]:
    """Draw observations with states within the training statistics and images of squares.

    They suffice to check that an engine computes the same numbers. They are not real scenes, so
    they do not show how well a quantised engine acts.

    Args:
        policy: defines views, history, groups and units.
        count: number of observations.
        size: (height, width) of the images of all views, or view -> (height, width).
        seed: seed of states and images.

    """
    rng = np.random.default_rng(seed)
    sizes = size if isinstance(size, Mapping) else dict.fromkeys(policy.spec.views, size)
    return [policy.example(sizes, _INSTRUCTIONS[i % len(_INSTRUCTIONS)], rng) for i in range(count)]


def describe_source(count: int, source: str) -> str:
    """Return a description such as "1 observation (bags/run1)"."""
    return f"{count} observation{'' if count == 1 else 's'} ({source})"


def make_reference_outputs(
    policy: Policy,
    observations: Sequence[Observation],
    steps: Sequence[int],
    *,
    source: str,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
) -> ReferenceOutputs:
    """Run the policy's engine on observations and return its inputs and outputs.

    Every second case continues committed motion, if the model family supports it.

    Args:
        policy: policy that runs the reference model in float32.
        observations: one per case.
        steps: numbers of denoising steps to run.
        source: description of the observations' source.
        seed: seed of the random inputs.
        progress: called with the fraction that is done.

    """
    cases = []
    for number, observation in enumerate(observations):
        inputs, state = policy.encode(observation)
        conditioned = policy.spec.supports_prefix and number % 2 == 1
        inputs = {
            **inputs,
            **policy.checkpoint.processor.draw(seed + number),
            **(policy.checkpoint.processor.draw_prefix(seed + number) if conditioned else {}),
        }
        outputs = {n: policy.engine.run(inputs, n).outputs for n in steps}
        cases.append(Case(inputs, state, outputs))
        progress((number + 1) / len(observations))
    return ReferenceOutputs(tuple(cases), source)


def largest_difference(
    policy: Policy, engine: Engine, reference: ReferenceOutputs, steps: Sequence[int]
) -> float:
    """Return the largest normalised error of an engine; infinite if a value is not finite."""
    used = policy.checkpoint.processor.used
    largest = 0.0
    for case in reference.cases:
        for n in steps:
            difference = np.abs(used(engine.run(case.inputs, n).outputs) - used(case.outputs[n]))
            worst = float(difference.max()) if np.isfinite(difference).all() else np.inf
            largest = max(largest, worst)
    return largest
