# SPDX-License-Identifier: Apache-2.0
"""Golden sets of a GR00T N1.5 policy: images, text and state to actions in the robot's units."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from golden.arrays import Arrays, BrokenSetError, GoldenSet
from golden.comparison import TOKENIZER, TOLERANCE, Comparison, UnavailableError, compare, same
from groot_ros.checkpoint.locate import has_tokenizer
from groot_ros.core import Observation, PolicyConfig
from groot_ros.core.config_reader import Fields
from groot_ros.families.gr00t.network import TensorBatch
from groot_ros.families.gr00t.samples import collate
from groot_ros.families.gr00t_n1d5.config import MODEL_TYPE
from groot_ros.families.gr00t_n1d5.processor import Processor
from groot_ros.policy import Policy, load_policy

FILES = ("inputs.npz", "inputs.json", "checkpoint/config.json")
_OUTPUTS = ".outputs.safetensors"


def belongs(folder: Path) -> bool:
    """Tell whether its checkpoint is N1.5."""
    config = Fields.read(folder / "checkpoint" / "config.json")
    return config.get("model_type", "") == MODEL_TYPE


def comparisons(source: GoldenSet) -> Iterator[Comparison]:
    meta = source.json("inputs.json")
    arrays = source.arrays("inputs.npz")
    checkpoint = source.folder / "checkpoint"
    policy = _load(checkpoint, meta["embodiment_tag"], "reference")
    processor = policy.checkpoint.processor
    texts = [text if isinstance(text, str) else text[0] for text in meta["texts"]]
    observations = [
        Observation(
            0,
            {view: arrays[f"video.{view}"][row] for view in processor.views},
            {g: arrays[f"state.{g}"][row] for g in policy.spec.state_groups},
            text,
        )
        for row, text in enumerate(texts)
    ]
    cases = [p.name.removesuffix(_OUTPUTS) for p in sorted(source.folder.glob(f"*{_OUTPUTS}"))]
    if not cases:
        raise BrokenSetError(f"holds no case (NAME{_OUTPUTS})")
    for case in cases:
        golden = source.tensors(case + _OUTPUTS)
        for result in _batch(policy, processor, observations, arrays["noise"], golden):
            yield replace(result, name=f"{case}: {result.name}")
        path = source.folder / f"{case}.pixel_values_u8.npz"
        if path.is_file():
            rows = len(golden["normalized_action"])
            tiles = np.concatenate([processor.encode(o)["tiles"] for o in observations[:rows]])
            expected = source.arrays(path.name)["pixel_values_u8"]
            yield same(f"{case}: pixel_values_u8", tiles, expected)
        for engine in ("reference", "torch"):
            loaded = _load(checkpoint, meta["embodiment_tag"], engine)
            for result in _rows(loaded, observations, arrays["noise"], golden):
                yield replace(result, name=f"{case}: {engine}, {result.name}")


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


def _batch(
    policy: Policy,
    processor: Processor,
    observations: list[Observation],
    noise: np.ndarray,
    golden: Arrays,
) -> Iterator[Comparison]:
    rows = len(golden["normalized_action"])
    samples = [
        processor.encode_sample(o.images, o.state, o.instruction) for o in observations[:rows]
    ]
    batch = collate(samples, processor.tokenizer.pad_id)
    yield same("input_ids", batch.input_ids, golden["input_ids"])
    yield same("attention_mask", batch.attention_mask, golden["attention_mask"])
    yield compare("state", batch.state, golden["state"], TOLERANCE)
    yield same("embodiment_id", batch.embodiment_id, golden["embodiment_id"])
    size = processor.images.size
    yield from golden.optional("image_sizes", np.full((len(batch.images), 2), size), same)
    model = policy.engine.model.model
    given = TensorBatch.of(batch)
    out = model.backbone(given.input_ids, given.attention_mask, given.images)
    yield from golden.optional("backbone_features", out.features)
    zero = torch.zeros_like(given.embodiment)
    context = model.action_head.context(out, given.state, zero)
    width = model.config.head.action_dim
    start = torch.from_numpy(noise[:rows, :, :width])
    actions = model.action_head.denoise(context, start, policy.num_inference_steps).numpy()
    yield compare("normalized_action", actions, golden["normalized_action"], TOLERANCE)
    for group, values in processor.codec.decode_action(actions).items():
        name = f"unapplied.action.{group}"
        yield compare(name, values, golden[name], _tolerance(processor, group))


def _tolerance(processor: Processor, group: str) -> float:
    found = next(g for g in processor.layout.action if g.name == group)
    return TOLERANCE * max(1.0, float((found.high - found.low).max()) / 2.0)


def _rows(
    policy: Policy, observations: list[Observation], noise: np.ndarray, golden: Arrays
) -> Iterator[Comparison]:
    """Compare every sample without padding on its own, through `Policy.infer`."""
    processor = policy.checkpoint.processor
    for row in range(len(golden["normalized_action"])):
        if not golden["attention_mask"][row].all():
            continue
        given = {"noise": noise[row : row + 1, :, : processor.chunk_shape[1]]}
        with patch.object(processor, "draw", lambda seed, given=given: given):
            chunk = policy.infer(observations[row], seed=0)
        for group in chunk.groups:
            name = f"unapplied.action.{group.name}"
            label, tolerance = f"infer, row {row}: {name}", _tolerance(processor, group.name)
            yield compare(label, group.values, golden[name][row], tolerance)
