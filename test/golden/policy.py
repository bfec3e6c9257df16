# SPDX-License-Identifier: Apache-2.0
"""Golden sets of a policy: images, text and state to robot actions, in the robot's units."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from golden import full
from golden.arrays import Arrays, GoldenSet
from golden.comparison import TOKENIZER, TOLERANCE, Comparison, UnavailableError, compare, same
from golden.state_action import action_tolerance
from groot_ros.checkpoint.locate import has_tokenizer
from groot_ros.core import Observation, PolicyConfig
from groot_ros.families.gr00t.network import TensorBatch
from groot_ros.families.gr00t.samples import Batch, collate
from groot_ros.families.gr00t_n1d6.network import Gr00tN1d6
from groot_ros.families.gr00t_n1d6.processor import Sample
from groot_ros.policy import Policy, load_policy
from groot_ros.processing.statistics import Statistics

FILES = ("inputs.npz", "inputs.json", "outputs.safetensors")


def belongs(folder: Path) -> bool:
    """Tell whether its only checkpoint is N1.6."""
    return full.belongs(folder)


def comparisons(source: GoldenSet) -> Iterator[Comparison]:
    meta = source.json("inputs.json")
    arrays = source.arrays("inputs.npz")
    golden = source.tensors("outputs.safetensors")
    for checkpoint in full.checkpoints(source.folder):
        policy = _load(checkpoint, meta["embodiment_tag"], "reference")
        samples = [
            Sample(
                {view: arrays[f"image.{view}"][row] for view in policy.spec.views},
                {group: arrays[f"state.{group}"][row] for group in policy.spec.state_groups},
                text,
            )
            for row, text in enumerate(meta["texts"])
        ]
        yield from _checkpoint(checkpoint, policy, samples, arrays["noise"], golden)
        staged = _load(checkpoint, meta["embodiment_tag"], "torch")
        for result in _rows(checkpoint, staged, samples, arrays["noise"], golden):
            yield replace(result, name=f"staged model: {result.name}")


def _load(checkpoint: Path, tag: str, engine: str) -> Policy:
    if (checkpoint / "trimmed.safetensors").exists():
        raise UnavailableError("its embeddings are trimmed; test_parity.py puts the rows back")
    tokenizer = checkpoint if has_tokenizer(checkpoint) else TOKENIZER
    if not has_tokenizer(tokenizer):
        raise UnavailableError(f"needs a tokenizer in {TOKENIZER}")
    return load_policy(
        PolicyConfig(
            checkpoint=str(checkpoint),
            embodiment=tag,
            backbone_assets=str(tokenizer),
            engine=engine,
            device="cpu",
            dtype="float32",
        )
    )


def _checkpoint(
    checkpoint: Path,
    policy: Policy,
    samples: list[Sample],
    noise: np.ndarray,
    golden: Arrays,
) -> Iterator[Comparison]:
    processor, model = policy.checkpoint.processor, policy.engine.model.model
    batch = collate([processor.encode_sample(s) for s in samples], processor.tokenizer.pad_id)
    yield from _inputs(model, batch, golden)
    actions = _batch_actions(model, batch, noise, policy.num_inference_steps)
    name = "normalized_action"
    yield compare(name, actions, golden[name], TOLERANCE)
    state = {g: np.stack([s.state[g] for s in samples]) for g in policy.spec.state_groups}
    tolerances = _tolerances(checkpoint, policy)
    for group, values in processor.codec.decode_action(actions, state).items():
        name = f"action.{group}"
        yield compare(name, values, golden[name], tolerances[group])
    yield from _rows(checkpoint, policy, samples, noise, golden)


def _batch_actions(model: Gr00tN1d6, batch: Batch, noise: np.ndarray, steps: int) -> np.ndarray:
    """Return actions [B, H, A]; the model holds the weights of one embodiment, in row 0."""
    given = TensorBatch.of(batch)
    actions = model(
        given.input_ids,
        given.attention_mask,
        given.images,
        given.state,
        torch.zeros_like(given.embodiment),
        torch.from_numpy(noise),
        steps,
    )
    return actions.numpy()


def _tolerances(checkpoint: Path, policy: Policy) -> dict[str, float]:
    statistics = Statistics.read(checkpoint / "statistics.json", policy.spec.embodiment)
    codec = policy.checkpoint.processor.codec
    return {
        group: action_tolerance(codec, statistics, group) for group in policy.spec.action_groups
    }


def _rows(
    checkpoint: Path,
    policy: Policy,
    samples: list[Sample],
    noise: np.ndarray,
    golden: Arrays,
) -> Iterator[Comparison]:
    """Compare every sample on its own, through `Policy.infer`."""
    tolerances = _tolerances(checkpoint, policy)
    for row, sample in enumerate(samples):
        # The plain DiT attends to padding, so a row alone is the same only without padding.
        if policy.checkpoint.config.use_alternate_vl_dit or golden["attention_mask"][row].all():
            for group, values in _chunk(policy, sample, noise[row]).items():
                label, name = f"infer, row {row}: action.{group}", f"action.{group}"
                yield compare(label, values, golden[name][row], tolerances[group])


def _inputs(model: Gr00tN1d6, batch: Batch, golden: Arrays) -> Iterator[Comparison]:
    """Compare the inputs of the model and the features of the backbone."""
    yield same("input_ids", batch.input_ids, golden["input_ids"])
    yield same("attention_mask", batch.attention_mask, golden["attention_mask"])
    for n, image in enumerate(batch.images):
        yield same(f"pixel_values.{n}", image[None], golden[f"pixel_values.{n}"])
    yield compare("state", batch.state, golden["state"], TOLERANCE)
    yield same("embodiment_id", batch.embodiment_id, golden["embodiment_id"])
    given = TensorBatch.of(batch)
    out = model.backbone(given.input_ids, given.attention_mask, given.images)
    yield from golden.optional("backbone_features", out.features)
    yield from golden.optional("image_mask", out.image_mask, same)


def _chunk(policy: Policy, sample: Sample, noise: np.ndarray) -> dict[str, np.ndarray]:
    observation = Observation(0, sample.images, sample.state, sample.instruction)
    with patch.object(policy.checkpoint.processor, "draw", lambda seed: {"noise": noise[None]}):
        chunk = policy.infer(observation, seed=0)
    return {group.name: group.values for group in chunk.groups}
