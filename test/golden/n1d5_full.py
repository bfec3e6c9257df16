# SPDX-License-Identifier: Apache-2.0
"""Golden sets of GR00T N1.5 checkpoints in NVIDIA's layout, from tiles to actions and the loss."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from golden import n1d5_staged
from golden.arrays import Arrays, BrokenSetError, GoldenSet
from golden.comparison import TOLERANCE, Comparison, compare
from groot_ros.core.config_reader import Fields
from groot_ros.families.gr00t_n1d5.checkpoint import find_files
from groot_ros.families.gr00t_n1d5.codec import StateActionCodec
from groot_ros.families.gr00t_n1d5.config import MODEL_TYPE, Gr00tN1d5Config
from groot_ros.families.gr00t_n1d5.metadata import metadata_tags, read_metadata
from groot_ros.families.gr00t_n1d5.network import Gr00tN1d5
from groot_ros.families.gr00t_n1d5.program import load_staged
from groot_ros.families.gr00t_n1d5.training import flow_matching_loss
from groot_ros.families.gr00t_n1d5.weights import load_model, with_decoders_of
from groot_ros.layers.eagle import BackboneOutput
from groot_ros.layers.flow_matching import bucket, step_times

#: Besides these, a set has pairs NAME.inputs.safetensors and NAME.outputs.safetensors.
FILES = ("checkpoint/config.json",)
_INPUTS, _OUTPUTS = ".inputs.safetensors", ".outputs.safetensors"
TRAINING = ("action", "action_mask", "train_noise", "train_t")


def belongs(folder: Path) -> bool:
    """Tell whether its checkpoint is N1.5, and it has cases."""
    config = Fields.read(folder / "checkpoint" / "config.json")
    return config.get("model_type", "") == MODEL_TYPE and any(folder.glob(f"*{_INPUTS}"))


def comparisons(source: GoldenSet) -> Iterator[Comparison]:
    checkpoint = source.folder / "checkpoint"
    config = with_decoders_of(find_files(checkpoint, None, None).read_config(), checkpoint)
    yield from cases(source, checkpoint, config)


def cases(
    source: GoldenSet, checkpoint: Path, config: Gr00tN1d5Config, decoded: bool = True
) -> Iterator[Comparison]:
    """Compare every case of a set with a checkpoint, and decoded actions if `decoded` is set."""
    names = [p.name.removesuffix(_INPUTS) for p in sorted(source.folder.glob(f"*{_INPUTS}"))]
    if not names:
        raise BrokenSetError(f"holds no case (NAME{_INPUTS})")
    model = load_model(checkpoint, config)
    for name in names:
        inputs, golden = (source.tensors(name + ending) for ending in (_INPUTS, _OUTPUTS))
        for result in _case(model, checkpoint, inputs, golden):
            yield replace(result, name=f"{name}: {result.name}")
        for result in unapplied(config, checkpoint, golden) if decoded else ():
            yield replace(result, name=f"{name}: {result.name}")


def _case(
    model: Gr00tN1d5, checkpoint: Path, inputs: Arrays, golden: Arrays
) -> Iterator[Comparison]:
    config, head = model.config, model.action_head
    inputs.has("eagle_image_sizes")
    ids, mask = inputs["eagle_input_ids"], inputs["eagle_attention_mask"]
    out = model.backbone(ids, mask, inputs["eagle_pixel_values"])
    yield from golden.optional("backbone_features", out.features)
    embodiment, state = inputs["embodiment_id"], inputs["state"]
    noise = inputs["init_noise"][..., : config.head.action_dim]
    context = head.context(out, state, embodiment)
    actions = noise
    steps = config.head.num_inference_timesteps
    for i, time in enumerate(step_times(steps)):
        timestep = torch.full((len(noise),), bucket(time, config.head.num_timestep_buckets))
        per_action = timestep[:, None].expand(-1, noise.shape[1])
        velocity = head.velocity(context, actions, timestep, per_action)
        yield from golden.optional(f"step{i}.pred_velocity", velocity)
        actions = actions + velocity / steps
    predicted = head.denoise(context, noise)
    yield compare("action_pred", predicted, golden["action_pred"], TOLERANCE)
    whole = model(ids, mask, inputs["eagle_pixel_values"], state, embodiment, noise)
    yield compare("action_pred (whole model)", whole, golden["action_pred"], TOLERANCE)
    if bool((mask == 1).all()) and "eager.action_pred" in golden:
        # Without padding both kinds of attention are equal.
        yield compare("eager.action_pred", predicted, golden["eager.action_pred"], TOLERANCE)
    if inputs.has(*TRAINING):
        args = (inputs[k] for k in ("action", "action_mask"))
        draws = {"noise": inputs["train_noise"], "time": inputs["train_t"]}
        loss = flow_matching_loss(head, out, state, *args, embodiment, **draws)
        yield from golden.optional("train_loss", loss.losses["loss"][None])
    yield from _rows(model, checkpoint, inputs, golden)


def _rows(
    model: Gr00tN1d5, checkpoint: Path, inputs: Arrays, golden: Arrays
) -> Iterator[Comparison]:
    """Compare each row with the weights of its embodiment alone."""
    mask, eagle = inputs["eagle_attention_mask"], model.config.eagle
    images = (inputs["eagle_input_ids"] == eagle.image_token_index).sum(1) // eagle.tile_tokens
    first = [0, *images.cumsum(0).tolist()]
    out = model.backbone(inputs["eagle_input_ids"], mask, inputs["eagle_pixel_values"])
    for row, embodiment in enumerate(inputs["embodiment_id"].tolist()):
        one = slice(row, row + 1)
        head = load_model(checkpoint, model.config, embodiment=embodiment).action_head
        zero = torch.zeros(1, dtype=torch.int64)
        part = BackboneOutput(out.features[one], out.attention_mask[one], out.image_mask[one])
        context = head.context(part, inputs["state"][one], zero)
        noise = inputs["init_noise"][one, :, : model.config.head.action_dim]
        name = f"action_pred, row {row}, embodiment {embodiment} alone"
        yield compare(name, head.denoise(context, noise), golden["action_pred"][one], TOLERANCE)
        if bool((mask[row] == 1).all()):
            staged = load_staged(checkpoint, model.config, embodiment=embodiment)
            own = inputs["eagle_pixel_values"][first[row] : first[row + 1]]
            steps = model.config.head.num_inference_timesteps
            action = n1d5_staged.inferred(staged, inputs, row, own, steps)
            name = f"action_pred (staged model, row {row}, embodiment {embodiment})"
            yield compare(name, action, golden["action_pred"][one], TOLERANCE)


def unapplied(config: Gr00tN1d5Config, checkpoint: Path, golden: Arrays) -> Iterator[Comparison]:
    """Compare decoded actions: unapply.sample{b}.{tag}.action.{group}."""
    head = config.head
    for name in (n for n in golden if n.startswith("unapply.")):
        _, sample, rest = name.split(".", 2)
        tag, _, group = rest.partition(".action.")
        if tag not in metadata_tags(checkpoint):
            raise BrokenSetError(f"'{name}' is of a tag that metadata.json lacks")
        layout = read_metadata(checkpoint, tag)
        codec = StateActionCodec(layout, head.action_horizon, head.max_state_dim, head.action_dim)
        row = int(sample.removeprefix("sample"))
        action: Tensor = golden["action_pred"][row : row + 1]
        values = codec.decode_action(action.numpy())[group]
        found = next(g for g in layout.action if g.name == group)
        half = float((found.high - found.low).max()) / 2.0
        yield compare(name, values, golden[name], TOLERANCE * max(1.0, half))
