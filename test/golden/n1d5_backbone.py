# SPDX-License-Identifier: Apache-2.0
"""Golden sets of a GR00T N1.5 backbone: one set of weights, several cases of tiles and text."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from golden import n1d5_staged
from golden.arrays import Arrays, BrokenSetError, GoldenSet
from golden.comparison import Comparison, compare, same
from groot_ros.core.config_reader import Fields
from groot_ros.families.gr00t_n1d5.backbone import EagleBackbone, pixel_shuffle
from groot_ros.families.gr00t_n1d5.config import BackboneConfig, EagleConfig

FILES = ("backbone_config.json", "eagle_config.json", "state_dict.safetensors")
_INPUTS, _OUTPUTS = ".inputs.safetensors", ".outputs.safetensors"


def belongs(folder: Path) -> bool:
    """Tell whether the set is of N1.5."""
    vision = Fields.read(folder / "eagle_config.json").section("vision_config")
    return vision.text("model_type", "") == "siglip_vision_model"


def comparisons(source: GoldenSet) -> Iterator[Comparison]:
    folder = source.folder
    eagle = EagleConfig.read(folder / "eagle_config.json")
    config = BackboneConfig.parse(Fields.read(folder / "backbone_config.json"))
    weights = dict(source.tensors("state_dict.safetensors"))
    model = _model(eagle, config, weights)
    cases = [path.name.removesuffix(_INPUTS) for path in sorted(folder.glob(f"*{_INPUTS}"))]
    if not cases:
        raise BrokenSetError(f"holds no case (NAME{_INPUTS})")
    for case in cases:
        inputs, golden = (source.tensors(case + ending) for ending in (_INPUTS, _OUTPUTS))
        inputs.has("eagle_image_sizes")
        for result in _case(model, inputs, golden, weights):
            yield replace(result, name=f"{case}: {result.name}")
        for result in _staged(_model(eagle, config, weights), config, inputs, golden):
            yield replace(result, name=f"{case}: {result.name}")


def _model(eagle: EagleConfig, config: BackboneConfig, weights: dict[str, Tensor]) -> EagleBackbone:
    model = EagleBackbone(eagle, config).eval().requires_grad_(False)
    unused = (".lm_head.", ".vision_model.head.", ".language_model.model.layers.")
    known = model.state_dict()
    given = {
        name: tensor.clone()
        for name, tensor in weights.items()
        if name in known or not any(part in name for part in unused)
    }
    model.load_state_dict(given)
    return model


def _staged(
    model: EagleBackbone, config: BackboneConfig, inputs: Arrays, golden: Arrays
) -> Iterator[Comparison]:
    """Compare every row at its own length, without padding."""
    mask = inputs["eagle_attention_mask"]
    given = inputs["eagle_input_ids"], mask, inputs["eagle_pixel_values"]
    for row, features in n1d5_staged.backbone_rows(model, config, *given):
        expected = golden["backbone_features"][row][mask[row] == 1]
        yield compare(f"backbone_features (staged model, row {row})", features, expected)


def _case(
    model: EagleBackbone, inputs: Arrays, golden: Arrays, weights: dict[str, Tensor]
) -> Iterator[Comparison]:
    eagle = model.eagle_model
    config = eagle.config
    ids, mask = inputs["eagle_input_ids"], inputs["eagle_attention_mask"]
    tiles = inputs["eagle_pixel_values"]
    trace: list[Tensor] = []
    patches = eagle.vision(tiles, trace)
    *hidden, last = trace
    for k, value in enumerate(hidden):
        yield from golden.optional(f"vit.hidden.{k}", value)
    yield from golden.optional("vit.last_hidden_state", last)
    if config.use_pixel_shuffle:
        shuffled = pixel_shuffle(patches, config.vision.side, config.shuffle)
        yield from golden.optional("pixel_shuffled", shuffled)
    tokens = eagle.image_tokens(tiles).unflatten(0, (len(tiles), -1))
    yield from golden.optional("image_tokens", tokens)
    text: list[Tensor] = []
    eagle.text(eagle.embed(ids, tiles), mask == 1, text)
    for k, value in enumerate(text):
        yield from golden.optional(f"llm.hidden_states.{k}", value)
    if golden.has("llm.before_final_norm"):
        normed = eagle.text.norm(golden["llm.before_final_norm"])
        yield compare("norm(llm.before_final_norm)", normed, text[-1])
    out = model(ids, mask, tiles)
    yield compare("backbone_features", out.features, golden["backbone_features"])
    if golden.has("backbone_attention_mask"):
        ours = out.attention_mask.to(golden["backbone_attention_mask"].dtype)
        yield same("backbone_attention_mask", ours, golden["backbone_attention_mask"])
    valid = out.attention_mask
    if golden.has("eager.backbone_features"):
        eager = golden["eager.backbone_features"][valid]
        yield compare("eager.backbone_features (valid rows)", out.features[valid], eager)
    if golden.has("logits_last"):
        name = "eagle_model.language_model.{}.weight".format
        vocabulary = weights.get(name("lm_head"), weights[name("model.embed_tokens")])
        yield compare("logits_last", text[-1][:, -1] @ vocabulary.T, golden["logits_last"])
