# SPDX-License-Identifier: Apache-2.0
"""Golden sets of a backbone: one set of weights, several cases of images and text, and variants.

A variant is another config of the VLM with the same weights, for the vision tower alone.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from golden import staged_model
from golden.arrays import Arrays, BrokenSetError, GoldenSet
from golden.comparison import Comparison, compare, same
from groot_ros.core.config_reader import Fields
from groot_ros.families.gr00t_n1d6.backbone import EagleBackbone, pixel_shuffle
from groot_ros.families.gr00t_n1d6.config import EagleConfig
from groot_ros.layers.siglip2 import window_of_patch

FILES = ("backbone_config.json", "eagle_config.json", "state_dict.safetensors")
_INPUTS, _OUTPUTS, _CONFIG = ".inputs.safetensors", ".outputs.safetensors", ".eagle_config.json"


def belongs(folder: Path) -> bool:
    """Tell whether the set is of N1.6."""
    vision = Fields.read(folder / "eagle_config.json").section("vision_config")
    return vision.text("model_type", "") == "siglip2_vision_model"


def comparisons(source: GoldenSet) -> Iterator[Comparison]:
    folder = source.folder
    layers = Fields.read(folder / "backbone_config.json").integer("select_layer")
    weights = dict(source.tensors("state_dict.safetensors"))
    config = EagleConfig.read(folder / "eagle_config.json")
    model = _model(config, layers, weights)
    cases, variants = (_named(folder, ending) for ending in (_INPUTS, _CONFIG))
    found = {case: source.tensors(case + _INPUTS) for case in cases}
    if not found:
        raise BrokenSetError(f"holds no case (NAME{_INPUTS})")
    for name in _named(folder, _OUTPUTS):
        if name not in found and name not in variants:
            raise BrokenSetError(f"has {name}{_OUTPUTS}, but neither its inputs nor its config")
    for case, inputs in found.items():
        golden = source.tensors(case + _OUTPUTS)
        for result in _case(model, inputs, golden, weights):
            yield replace(result, name=f"{case}: {result.name}")
        for result in _staged(_model(config, layers, weights), layers, inputs, golden):
            yield replace(result, name=f"{case}: {result.name}")
    if not variants:
        source.lacks(f"a variant (NAME{_CONFIG})")
    for variant in variants:
        golden = source.tensors(variant + _OUTPUTS)
        config = EagleConfig.read(folder / (variant + _CONFIG))
        images = pixels(found[_case_of(golden, found, config)])
        for result in _vision(_model(config, layers, weights), images, golden):
            yield replace(result, name=f"{variant}: {result.name}")


def _named(folder: Path, ending: str) -> list[str]:
    return [path.name.removesuffix(ending) for path in sorted(folder.glob(f"*{ending}"))]


def _staged(
    model: EagleBackbone, layers: int, inputs: Arrays, golden: Arrays
) -> Iterator[Comparison]:
    """Compare every row at its own length, without padding."""
    mask = inputs["attention_mask"]
    rows = staged_model.backbone_rows(model, layers, inputs["input_ids"], mask, pixels(inputs))
    for row, features in rows:
        expected = golden["backbone_features"][row][mask[row] == 1]
        yield compare(f"backbone_features (staged model, row {row})", features, expected)


def pixels(inputs: Arrays) -> list[Tensor]:
    """Return pixel_values.0, pixel_values.1, ..."""
    count = sum(name.startswith("pixel_values.") for name in inputs)
    return [inputs[f"pixel_values.{n}"] for n in range(count)]


def _model(config: EagleConfig, layers: int, weights: dict[str, Tensor]) -> EagleBackbone:
    model = EagleBackbone(config, layers).eval()
    reference = model.state_dict().keys()
    model.load_state_dict({name: weights[name] for name in reference})
    return model


def _case_of(golden: Arrays, cases: dict[str, Arrays], config: EagleConfig) -> str:
    """Find the case whose images a variant was made with: as many tokens, mixed sizes preferred."""
    cell = config.vision.patch_size * config.shuffle

    def tokens(case: str) -> int:
        return sum(x.shape[2] * x.shape[3] // cell**2 for x in pixels(cases[case]))

    fitting = [case for case in cases if tokens(case) == len(golden["image_tokens"])]
    if not fitting:
        raise ValueError(f"no case has {len(golden['image_tokens'])} image tokens")
    return max(fitting, key=lambda case: len({x.shape for x in pixels(cases[case])}))


def _vision(model: EagleBackbone, images: list[Tensor], golden: Arrays) -> Iterator[Comparison]:
    """Compare image by image with every hidden state, then all images as the model runs them."""
    tower, config = model.model.vision, model.model.config
    patch = config.vision.patch_size
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
        yield from golden.optional(name, value)
    exact = {
        "reverse_mapping": order.argsort(),
        "spatial_shapes": torch.tensor(shapes),
        "pixel_shuffled_shapes": torch.tensor(shapes) // config.shuffle,
    }
    for name, value in exact.items():
        yield from golden.optional(name, value, same)
    yield compare("image_tokens", model.model.image_tokens(images), golden["image_tokens"])


def _case(
    model: EagleBackbone,
    inputs: Arrays,
    golden: Arrays,
    weights: dict[str, Tensor],
) -> Iterator[Comparison]:
    images = pixels(inputs)
    yield from _vision(model, images, golden)
    embedded = model.model.embed(inputs["input_ids"], images)
    yield from golden.optional("llm.inputs_embeds", embedded)
    trace: list[Tensor] = []
    model.model.text(embedded, inputs["attention_mask"] == 1, trace)
    for k, hidden in enumerate(trace):
        yield from golden.optional(f"llm.hidden_states.{k}", hidden)
    out = model(inputs["input_ids"], inputs["attention_mask"], images)
    yield compare("backbone_features", out.features, golden["backbone_features"])
    yield from golden.optional("backbone_attention_mask", out.attention_mask, same)
    yield from golden.optional("image_mask", out.image_mask, same)
    valid = out.attention_mask
    if golden.has("eager.backbone_features"):
        eager = golden["eager.backbone_features"][valid]
        yield compare("eager.backbone_features (valid rows)", out.features[valid], eager)
    if golden.has("logits_last"):
        tied = weights["model.language_model.model.embed_tokens.weight"]
        vocabulary = weights.get("model.language_model.lm_head.weight", tied)
        yield compare("logits_last", out.features[:, -1] @ vocabulary.T, golden["logits_last"])
