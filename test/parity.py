"""Compares this package with golden directories: python test/parity.py DIR...

Prints the largest absolute difference per tensor and PASS or FAIL; exits 1 on any FAIL. DIR is one
set, or a folder of sets. What cannot be run here (no tokenizer) is printed as SKIP with the reason.
Tolerances in float32: 1e-5 on normalised quantities, 1e-5 x max(1, half the range of the
statistics) on decoded actions, none on token ids, pixels and masks.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from groot_ros.models.gr00t_n1d6 import (
    ActionHead,
    BackboneOutput,
    Conditioning,
    EagleBackbone,
    EagleConfig,
    Gr00tN1d6Config,
    flow_matching_loss,
    load_model,
)
from groot_ros.models.gr00t_n1d6.checkpoint import load_config
from groot_ros.models.gr00t_n1d6.eagle import pixel_shuffle
from groot_ros.models.gr00t_n1d6.flow import bucket, step_times
from groot_ros.models.gr00t_n1d6.siglip2 import window_of_patch
from groot_ros.policy import load_policy
from groot_ros.processing import (
    ImagePipeline,
    ProcessorConfig,
    Sample,
    StateActionCodec,
    Statistics,
    TextTokenizer,
    collate,
)
from groot_ros.processing.images import smallest_side_size, token_grid_size
from groot_ros.processing.prompt import build_prompt, formalise
from groot_ros.processing.tokenizer import has_tokenizer
from groot_ros.runtime.tensors import normalise_pixels
from groot_ros.types.fields import Fields

TOLERANCE = 1e-5
TOKENIZER = Path(__file__).resolve().parents[2] / "shared" / "eagle_tokenizer"


class UnavailableError(Exception):
    """This set needs something that is not on this machine."""


@dataclass(frozen=True)
class Comparison:
    """One tensor against its golden value."""

    name: str
    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.difference <= self.tolerance

    def __str__(self) -> str:
        verdict = "PASS" if self.passed else "FAIL"
        return f"  {verdict}  {self.difference:9.2e} <= {self.tolerance:.1e}  {self.name}"


def compare(name: str, ours, golden, tolerance: float | None = None) -> Comparison:
    """Absolute difference; features (no tolerance given) are measured against their own size."""
    a, b = (np.asarray(x.detach() if isinstance(x, Tensor) else x) for x in (ours, golden))
    if a.shape != b.shape:
        return Comparison(f"{name}: shape {list(a.shape)}, golden {list(b.shape)}", np.inf, 0.0)
    if tolerance is None:
        tolerance = TOLERANCE * max(1.0, float(np.abs(b).max(initial=0.0)))
    difference = np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0)
    return Comparison(name, float(np.nan_to_num(difference, nan=np.inf)), tolerance)


def same(name: str, ours, golden) -> Comparison:
    """Equal, element by element."""
    return compare(name, ours, golden, 0.0)


def action_head(folder: Path) -> Iterator[Comparison]:
    """config.json, state_dict, inputs and outputs of an action head on its own."""
    config = Gr00tN1d6Config.parse(Fields.read(folder / "config.json"), EagleConfig())
    weights = load_file(folder / "state_dict.safetensors")
    inputs, golden = (load_file(folder / f"{k}.safetensors") for k in ("inputs", "outputs"))
    head = ActionHead(config).eval()
    head.load_state_dict(weights)
    backbone = BackboneOutput(inputs["vl_features"], inputs["attention_mask"], inputs["image_mask"])
    embodiment = inputs["embodiment_id"]
    context = head.context(backbone, inputs["state"], embodiment)
    yield compare("vlln_features", context.features, golden["vlln_features"])
    yield compare("state_features", context.state, golden["state_features"])

    actions, steps = inputs["init_noise"], config.num_inference_timesteps
    batch, horizon, width = actions.shape
    for i, time in enumerate(step_times(steps)):
        timestep = torch.full((batch,), bucket(time, config.num_timestep_buckets))
        yield compare(f"step{i}.actions_in", actions, golden[f"step{i}.actions_in"])
        yield same(f"step{i}.timestep", timestep, golden[f"step{i}.timestep"])
        per_action = timestep[:, None].expand(-1, horizon)
        encoded = head.action_encoder(actions, per_action, embodiment)
        name = f"step{i}.action_encoder_out"
        yield compare(name, encoded, golden[name])
        tokens = head.encode_actions(actions, per_action, embodiment)
        sequence = torch.cat([context.state, tokens], dim=1)
        trace: list[Tensor] = []
        masks = context.attention_mask, context.image_mask
        out = head.model(sequence, context.features, timestep, *masks, trace)
        yield compare(f"step{i}.dit_out", out, golden[f"step{i}.dit_out"])
        velocity = head.velocity(context, actions, timestep, per_action)
        yield compare(f"step{i}.pred_velocity", velocity, golden[f"step{i}.pred_velocity"])
        if i == 0:
            temb = head.model.timestep_encoder(timestep)
            yield compare("dit0.temb", temb, golden["dit0.temb"])
            yield compare("dit0.hidden_in", sequence, golden["dit0.hidden_in"])
            for k, hidden in enumerate(trace):
                yield compare(f"dit0.hidden.{k}", hidden, golden[f"dit0.hidden.{k}"])
            yield compare("dit0.out", out, golden["dit0.out"])
        actions = head.denoise_step(
            context,
            actions,
            torch.full((batch,), time),
            timestep,
            1.0 / steps,
            float(steps),
            Conditioning.none(batch, horizon, width, actions.device),
        )
    yield compare("action_pred", actions, golden["action_pred"], TOLERANCE)
    again = head.denoise(context, inputs["init_noise"])
    yield compare("action_pred (denoise)", again, golden["action_pred"], TOLERANCE)

    # A probability between 0 and 1 has no golden value: its draw is not among the inputs.
    dropped = float(config.state_dropout_prob == 1.0)
    draws = {"noise": inputs["train_noise"], "time": inputs["train_t"]}
    batch_of = (inputs["state"], inputs["action"], inputs["action_mask"], embodiment)
    loss = flow_matching_loss(head, backbone, *batch_of, **draws, state_dropout_prob=dropped)
    yield compare("train.loss", loss.loss[None], golden["train.loss"])
    yield compare("train.action_loss", loss.action_loss, golden["train.action_loss"])
    yield compare("train.pred", loss.prediction, golden["train.pred"])
    yield compare("train.noisy_trajectory", loss.noisy, golden["train.noisy_trajectory"])
    yield same("train.t_discretized", loss.timestep, golden["train.t_discretized"])

    dropout = folder / "state_dropout_1.safetensors"
    if dropout.exists():
        golden = load_file(dropout)
        head = ActionHead(replace(config, state_dropout_prob=1.0)).eval()
        head.load_state_dict({**weights, "mask_token": golden["mask_token"]})
        loss = flow_matching_loss(head, backbone, *batch_of, **draws)
        yield compare("state_dropout_1.train.loss", loss.loss[None], golden["train.loss"])
        name = "state_dropout_1.train.action_loss"
        yield compare(name, loss.action_loss, golden["train.action_loss"])
        context = head.context(backbone, inputs["state"], embodiment)
        predicted = head.denoise(context, inputs["init_noise"])
        name = "state_dropout_1.action_pred"
        yield compare(name, predicted, golden["action_pred"], TOLERANCE)


def backbone(folder: Path) -> Iterator[Comparison]:
    """One set of weights, several cases of images and text; variants of the VLM's config."""
    layers = Fields.read(folder / "backbone_config.json").integer("select_layer")
    weights = load_file(folder / "state_dict.safetensors")
    config = EagleConfig.read(folder / "eagle_config.json")
    model = _backbone_of(config, layers, weights)
    cases = sorted(p.name.removesuffix(".inputs.safetensors") for p in folder.glob("*.inputs.*"))
    for case in cases:
        inputs = load_file(folder / f"{case}.inputs.safetensors")
        golden = load_file(folder / f"{case}.outputs.safetensors")
        for result in _backbone_case(model, config, inputs, golden, weights):
            yield replace(result, name=f"{case}: {result.name}")
    # A variant has the images of a case; mixed sizes first, they tell the most.
    cases.sort(key=lambda case: case != "mixed_res")
    for path in sorted(folder.glob("*.eagle_config.json")):
        variant = path.name.removesuffix(".eagle_config.json")
        golden = load_file(folder / f"{variant}.outputs.safetensors")
        config = EagleConfig.read(path)
        inputs = next(
            given
            for given in (load_file(folder / f"{case}.inputs.safetensors") for case in cases)
            if _token_count(given, config) == len(golden["image_tokens"])
        )
        model = _backbone_of(config, layers, weights)
        for result in _vision_case(model, config, _pixels(inputs), golden):
            yield replace(result, name=f"{variant}: {result.name}")


def _backbone_of(config: EagleConfig, layers: int, weights: dict[str, Tensor]) -> EagleBackbone:
    model = EagleBackbone(config, layers).eval()
    wanted = model.state_dict().keys()
    model.load_state_dict({name: weights[name] for name in wanted})
    return model


def _pixels(inputs: dict[str, Tensor]) -> list[Tensor]:
    count = sum(name.startswith("pixel_values.") for name in inputs)
    return [inputs[f"pixel_values.{n}"] for n in range(count)]


def _token_count(inputs: dict[str, Tensor], config: EagleConfig) -> int:
    cell = config.vision.patch_size * config.shuffle
    return sum(x.shape[2] * x.shape[3] // cell**2 for x in _pixels(inputs))


def _vision_case(
    model: EagleBackbone, config: EagleConfig, images: list[Tensor], golden: dict[str, Tensor]
) -> Iterator[Comparison]:
    """Image by image with every hidden state, then all images as the model runs them."""
    tower, patch = model.model.vision, config.vision.patch_size
    rows: dict[str, list[Tensor]] = {}
    orders, shapes = [], []
    for image in images:
        h, w = image.shape[2] // patch, image.shape[3] // patch
        trace: list[Tensor] = []
        last = tower(image, trace)
        rows.setdefault("resized_position_embeddings", []).append(tower.embeddings.positions(h, w))
        rows.setdefault("vit.embeddings_row_major", []).append(tower.embeddings(image)[0])
        for k, hidden in enumerate(trace):
            rows.setdefault(f"vit.hidden.{k}.row_major", []).append(hidden[0])
        rows.setdefault("vit.last_hidden_state", []).append(last[0])
        rows.setdefault("pixel_shuffled", []).append(pixel_shuffle(last, h, w, config.shuffle)[0])
        order = window_of_patch(h, w, config.vision.window_size).argsort(stable=True)
        orders.append(order + sum(len(o) for o in orders))
        shapes.append((h, w))
    order = torch.cat(orders)
    found = {name: torch.cat(parts)[None] for name, parts in rows.items()}
    found["vit.embeddings_window_order"] = found["vit.embeddings_row_major"][:, order]
    for name, value in found.items():
        if name in golden:
            yield compare(name, value, golden[name])
    exact = {
        "reverse_mapping": order.argsort(),
        "spatial_shapes": torch.tensor(shapes),
        "pixel_shuffled_shapes": torch.tensor(shapes) // config.shuffle,
    }
    for name, value in exact.items():
        if name in golden:
            yield same(name, value, golden[name])
    yield compare("image_tokens", model.model.image_tokens(images), golden["image_tokens"])


def _backbone_case(
    model: EagleBackbone,
    config: EagleConfig,
    inputs: dict[str, Tensor],
    golden: dict[str, Tensor],
    weights: dict[str, Tensor],
) -> Iterator[Comparison]:
    images = _pixels(inputs)
    yield from _vision_case(model, config, images, golden)
    embedded = model.model.embed(inputs["input_ids"], images)
    yield compare("llm.inputs_embeds", embedded, golden["llm.inputs_embeds"])
    trace: list[Tensor] = []
    model.model.text(embedded, inputs["attention_mask"] == 1, trace)
    for k, hidden in enumerate(trace):
        name = f"llm.hidden_states.{k}"
        yield compare(name, hidden, golden[name])
    out = model(inputs["input_ids"], inputs["attention_mask"], images)
    yield compare("backbone_features", out.features, golden["backbone_features"])
    name = "backbone_attention_mask"
    yield same(name, out.attention_mask, golden[name])
    yield same("image_mask", out.image_mask, golden["image_mask"])
    valid = out.attention_mask
    eager = golden["eager.backbone_features"][valid]
    yield compare("eager.backbone_features (valid rows)", out.features[valid], eager)
    tied = weights["model.language_model.model.embed_tokens.weight"]
    vocabulary = weights.get("model.language_model.lm_head.weight", tied)
    logits = out.features[:, -1] @ vocabulary.T
    yield compare("logits_last", logits, golden["logits_last"])


def full(folder: Path) -> Iterator[Comparison]:
    """Checkpoints in the real layout, from tensors to the action and the loss."""
    inputs, golden = (load_file(folder / f"{k}.safetensors") for k in ("inputs", "outputs"))
    images = _pixels(inputs)
    text = inputs["input_ids"], inputs["attention_mask"]
    for checkpoint in sorted(p for p in folder.iterdir() if (p / "config.json").exists()):
        found: dict[str, Tensor] = {}
        config = load_config(checkpoint, checkpoint / "eagle_config.json")
        model = load_model(checkpoint, config)
        out = model.backbone(*text, images)
        context = model.action_head.context(out, inputs["state"], inputs["embodiment_id"])
        found["backbone_features"] = out.features
        found["vlln_features"] = context.features
        found["state_features"] = context.state
        exact = {"backbone_attention_mask": out.attention_mask, "image_mask": out.image_mask}
        predicted = model.action_head.denoise(context, inputs["init_noise"])
        loss = model.loss(
            *text,
            images,
            inputs["state"],
            inputs["action"],
            inputs["action_mask"],
            inputs["embodiment_id"],
            noise=inputs["train_noise"],
            time=inputs["train_t"],
            state_dropout_prob=0.0,
        )
        found["train_loss"] = loss.loss[None]
        found["train_action_loss"] = loss.action_loss
        for name, value in found.items():
            yield compare(f"{checkpoint.name}: {name}", value, golden[name])
        for name, value in exact.items():
            yield same(f"{checkpoint.name}: {name}", value, golden[name])
        name = f"{checkpoint.name}: action_pred"
        yield compare(name, predicted, golden["action_pred"], TOLERANCE)
        for row, tag in enumerate(inputs["embodiment_id"].tolist()):
            one = load_model(checkpoint, config, embodiment=tag)
            part = BackboneOutput(
                out.features[row : row + 1],
                out.attention_mask[row : row + 1],
                out.image_mask[row : row + 1],
            )
            zero = torch.zeros(1, dtype=torch.int64)
            context = one.action_head.context(part, inputs["state"][row : row + 1], zero)
            action = one.action_head.denoise(context, inputs["init_noise"][row : row + 1])
            name = f"{checkpoint.name}: action_pred, embodiment {tag} alone"
            yield compare(name, action, golden["action_pred"][row : row + 1], TOLERANCE)


def policy(folder: Path) -> Iterator[Comparison]:
    """Images, text and state to robot actions."""
    tokenizer = folder / "checkpoint" if has_tokenizer(folder / "checkpoint") else TOKENIZER
    if not has_tokenizer(tokenizer):
        raise UnavailableError(f"needs a tokenizer in {TOKENIZER}")
    meta = json.loads((folder / "inputs.json").read_text(encoding="utf-8"))
    inputs = np.load(folder / "inputs.npz")
    golden = load_file(folder / "outputs.safetensors")
    loaded = load_policy(
        folder / "checkpoint",
        meta["embodiment_tag"],
        device="cpu",
        dtype="float32",
        backbone_assets=tokenizer,
    )
    processor, groups = loaded.processor, loaded.state_groups
    encoded = [
        processor.encode(
            Sample(
                {view: inputs[f"image.{view}"][row] for view in loaded.views},
                {group: inputs[f"state.{group}"][row] for group in groups},
                text,
            )
        )
        for row, text in enumerate(meta["texts"])
    ]
    batch = collate(encoded, processor.tokenizer.pad_id)
    yield same("input_ids", batch.input_ids, golden["input_ids"])
    yield same("attention_mask", batch.attention_mask, golden["attention_mask"])
    for n, image in enumerate(batch.images):
        yield same(f"pixel_values.{n}", image[None], golden[f"pixel_values.{n}"])
    yield compare("state", batch.state, golden["state"], TOLERANCE)
    yield same("embodiment_id", batch.embodiment_id, golden["embodiment_id"])
    result = loaded.engine.run(batch, inputs["noise"], loaded.num_inference_steps)
    name = "normalized_action"
    yield compare(name, result.actions, golden[name], TOLERANCE)
    decoded = processor.decode(result.actions, {g: inputs[f"state.{g}"] for g in groups})
    statistics = Statistics.read(folder / "checkpoint" / "statistics.json", meta["embodiment_tag"])
    for group, values in decoded.items():
        tolerance = _action_tolerance(processor.codec, statistics, group)
        yield compare(f"action.{group}", values, golden[f"action.{group}"], tolerance)


def _action_tolerance(codec: StateActionCodec, statistics: Statistics, group: str) -> float:
    modality = "action" if codec.reference(group) is None else "relative_action"
    low, high = (statistics.get(modality, group, k) for k in ("min", "max"))
    return TOLERANCE * max(1.0, float((high - low).max()) / 2.0)


def state_action(folder: Path) -> Iterator[Comparison]:
    """Normalisation of states and actions, and decoding, of one embodiment."""
    arrays = np.load(folder / "state_action.npz")
    samples = sorted({name.split(".")[0] for name in arrays.files if name[0].isdigit()}, key=int)
    config = ProcessorConfig.read(folder)
    tag = next(
        tag
        for tag, embodiment in config.embodiments.items()
        if all(f"0.raw_state.{g}" in arrays.files for g in embodiment.state.modality_keys)
        and all(f"0.raw_action.{g}" in arrays.files for g in embodiment.action.modality_keys)
    )
    statistics = Statistics.read(folder / "statistics.json", tag)
    codec = StateActionCodec(config, config.embodiment(tag), statistics)
    states = []
    for b in samples:
        state = {g: arrays[f"{b}.raw_state.{g}"] for g in codec.state_widths}
        action = {g: arrays[f"{b}.raw_action.{g}"] for g in codec.action_widths}
        states.append(state)
        encoded = codec.encode_state(state)
        yield from _by_group(f"{b}.norm_state", encoded, arrays, codec.state_widths)
        values, mask = codec.encode_action(action, state)
        steps = values[: len(next(iter(action.values())))]
        yield from _by_group(f"{b}.norm_action", steps, arrays, codec.action_widths)
        yield compare(f"{b}.state", encoded, arrays[f"{b}.state"], TOLERANCE)
        yield compare(f"{b}.action", values, arrays[f"{b}.action"], TOLERANCE)
        yield same(f"{b}.action_mask", mask, arrays[f"{b}.action_mask"])
        yield same(f"{b}.embodiment_id", config.embodiment_id(tag), arrays[f"{b}.embodiment_id"])
    model_action = arrays["decode.model_action_used_cols"]
    stacked = {g: np.stack([state[g] for state in states]) for g in codec.state_widths}
    for prefix, actions, state in (
        ("decode", model_action, stacked),
        ("decode_unbatched", model_action[0], states[0]),
    ):
        for group, values in codec.decode_action(actions, state).items():
            name = f"{prefix}.action.{group}"
            tolerance = _action_tolerance(codec, statistics, group)
            yield compare(name, values, arrays[name], tolerance)


def _by_group(prefix: str, columns, arrays, groups) -> Iterator[Comparison]:
    start = 0
    for group in groups:
        golden = arrays[f"{prefix}.{group}"]
        end = start + golden.shape[1]
        yield compare(f"{prefix}.{group}", columns[:, start:end], golden, TOLERANCE)
        start = end


def vision_language(folder: Path) -> Iterator[Comparison]:
    """Images through the pipeline, prompts through the tokenizer."""
    listed = json.loads((folder / "images.json").read_text(encoding="utf-8"))
    for entry in listed["geometry"]:
        pipeline = ImagePipeline.of(_image_config(entry.get("config", {})))
        image = _rgb(folder / entry["input"])
        name = Path(entry["vlm_image"]).stem
        transformed = pipeline.transform(image).transpose(1, 2, 0)
        yield same(f"{name}: transform", transformed, _rgb(folder / entry["after_transform"]))
        seen = pipeline(image)
        yield same(name, seen.transpose(1, 2, 0), _rgb(folder / entry["vlm_image"]))
        yield same(f"{name}: tokens", pipeline.tokens(seen), entry["num_image_tokens"])
    sizes = np.array(listed["smart_resize_h_w_to_h_w"])
    ours = np.array([(h, w, *token_grid_size(h, w, 28)) for h, w in sizes[:, :2].tolist()])
    yield same("smart_resize sizes", ours, sizes)
    arrays = np.load(folder / "arrays.npz")
    for name in arrays.files:
        if name.startswith("pixel_values_"):
            stem = name.removeprefix("pixel_values_")
            image = torch.from_numpy(_rgb(folder / "png" / f"{stem}_vlm.png").transpose(2, 0, 1))
            yield same(name, normalise_pixels(image)[None], arrays[name])
    yield from _prompts(folder, arrays)


def _image_config(changes: dict) -> ProcessorConfig:
    edge, crop = changes.get("edge", 256), changes.get("crop", 0.95)
    return ProcessorConfig(
        {},
        shortest_image_edge=edge,
        crop_fraction=crop,
        image_crop_size=changes.get("image_crop_size"),
        image_target_size=changes.get("image_target_size"),
    )


def _rgb(path: Path) -> np.ndarray:
    return np.array(Image.open(path).convert("RGB"))


def _prompts(folder: Path, arrays) -> Iterator[Comparison]:
    golden = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))
    for text, expected in golden["formalized"].items():
        yield same(f"formalise {text!r}", formalise(text) == expected, True)
    if not has_tokenizer(TOKENIZER):
        raise UnavailableError(f"needs a tokenizer in {TOKENIZER}")
    tokenizer = TextTokenizer.load(TOKENIZER)
    for text, ids in golden["tokenizer_probes"]:
        yield same(f"tokens of {text!r}", np.array(tokenizer.encode(text)), np.array(ids))
    yield same("pad_token_id", tokenizer.pad_id, golden["pad_token_id"])
    yield same("vocab_len", tokenizer.size, golden["vocab_len"])
    for token, number in golden["special_ids"].items():
        yield same(f"id of {token}", tokenizer.encode(token)[0], number)
    for run in golden["runs"]:
        views = [_seen_size(h, w) for h, w in run["input_hw"]]
        frames = views * run["frames_per_view"]
        tokens = [h * w // 784 for h, w in frames]
        rows = []
        for text, chat in zip(run["language"], run["chat_text"], strict=True):
            spoken = formalise(text) if formalise(text) + "<image-1>" in chat else text
            rows.append(tokenizer.encode(build_prompt(spoken, tokens)))
        length = max(map(len, rows))
        ids = [[tokenizer.pad_id] * (length - len(row)) + row for row in rows]
        mask = [[0] * (length - len(row)) + [1] * len(row) for row in rows]
        name = run["name"]
        yield same(f"{name}.input_ids", np.array(ids), arrays[f"{name}.input_ids"])
        yield same(f"{name}.attention_mask", np.array(mask), arrays[f"{name}.attention_mask"])
        sizes = np.array(frames * len(rows))
        yield same(f"{name}.image_sizes", sizes, arrays[f"{name}.image_sizes"])


def _seen_size(h: int, w: int, edge: int = 256, crop: float = 0.95) -> tuple[int, int]:
    h, w = smallest_side_size(h, w, edge)
    h, w = smallest_side_size(int(h * crop), int(w * crop), edge)
    return token_grid_size(h, w, 28)


def format_of(folder: Path) -> Callable[[Path], Iterator[Comparison]] | None:
    """Which of the formats a folder holds."""
    names = {path.name for path in folder.iterdir()}
    if {"processor_config.json", "state_action.npz"} <= names:
        return state_action
    if {"images.json", "prompts.json", "arrays.npz"} <= names:
        return vision_language
    if {"backbone_config.json", "eagle_config.json", "state_dict.safetensors"} <= names:
        return backbone if _is_n1d6_backbone(folder) else None
    if {"config.json", "state_dict.safetensors", "inputs.safetensors"} <= names:
        config = Fields.read(folder / "config.json")
        return action_head if config.has("use_alternate_vl_dit") else None
    checkpoints = [p for p in folder.iterdir() if (p / "config.json").exists()]
    if not checkpoints or "outputs.safetensors" not in names:
        return None
    if Fields.read(checkpoints[0] / "config.json").get("model_type", "") != "Gr00tN1d6":
        return None
    return policy if {"inputs.npz", "inputs.json"} <= names else full


def _is_n1d6_backbone(folder: Path) -> bool:
    vision = Fields.read(folder / "eagle_config.json").section("vision_config")
    return vision.text("model_type", "") == "siglip2_vision_model"


def sets_in(folder: Path) -> Iterator[Path]:
    """The folder itself where it is a set, else the sets below it."""
    if format_of(folder) is not None:
        yield folder
        return
    for child in sorted(p for p in folder.iterdir() if p.is_dir()):
        yield from sets_in(child)


@torch.no_grad()
def check(folder: Path) -> bool:
    """Print all comparisons of one set; True where none failed."""
    run = format_of(folder)
    assert run is not None
    print(f"{folder} ({run.__name__})")
    passed, count, worst = True, 0, 0.0
    try:
        for result in run(folder):
            print(result)
            passed &= result.passed
            count += 1
            worst = max(worst, result.difference)
    except UnavailableError as reason:
        print(f"  SKIP  the rest: {reason}")
    verdict = "PASS" if passed else "FAIL"
    print(f"{verdict} {folder}: {count} tensors, largest difference {worst:.2e}\n")
    return passed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="+", help="a golden set, or a folder of sets")
    folders = parser.parse_args(arguments).folder
    passed = True
    for folder in folders:
        found = list(sets_in(folder)) if folder.is_dir() else []
        if not found:
            print(f"FAIL {folder}: no golden set of a known format")
            passed = False
        for each in found:
            try:
                passed &= check(each)
            except (ValueError, KeyError, RuntimeError) as error:
                print(f"FAIL {each}: {type(error).__name__}: {error}\n")
                passed = False
    print("PASS" if passed else "FAIL")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
