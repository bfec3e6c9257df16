# SPDX-License-Identifier: Apache-2.0
"""Read the sizes of a VIMA network from the names and shapes of its tensors.

The numbers of attention heads, and constants such as T5's epsilon, leave no trace in the shapes.
"""

import re
from collections.abc import Mapping
from typing import Any

from groot_ros.families.vima.config import PARTS

Shapes = Mapping[str, tuple[int, ...]]

_VIT = "obj_encoder.cropped_img_encoder.vit."
_BLOCK = "t5_prompt_encoder.t5.encoder.block.0.layer."


def sizes_in_weights(shapes: Shapes) -> dict[str, Any]:
    """Return the keys of a config file that the tensors determine.

    A tensor that is missing leaves its key out.

    Args:
        shapes: name of a tensor -> its shape.

    """
    sizes = {
        "embed_dim": _size(shapes, "xattn_gpt.positions_embed.weight", 1),
        "xf_n_layers": _count(shapes, r"xattn_gpt\.h\.(\d+)\.ln_1\.weight"),
        "n_positions": _size(shapes, "xattn_gpt.positions_embed.weight", 0),
        "xattn_n_positions": _size(shapes, "xattn_gpt.xattn_positions_embed.weight", 0),
        "xattn_ff_expanding": _ratio(shapes, "xattn_gpt.xattns.0.linear1.weight"),
        "use_geglu": "xattn_gpt.h.0.mlp.gated_layer.weight" in shapes,
        "word_vocab": _size(shapes, "prompt_embedding._embed_layer.weight", 0),
        "views": _views(shapes),
        "end_effectors": shapes.get("end_effector_encoder.weight"),
        "vit": _object_encoder(shapes),
        "t5": _t5(shapes),
        "action_embed": {
            **_mlp(shapes, f"action_encoder._embed_dict.{PARTS[0]}._layer."),
            "output_dim": _last(shapes, f"action_encoder._embed_dict.{PARTS[0]}._layer."),
        },
        "action_decoder": _mlp(shapes, f"action_decoder._decoders.{PARTS[0]}.mlps.0."),
        "prompt_obj_post": _mlp(shapes, "prompt_obj_post_layer."),
        "bins": _bins(shapes),
    }
    return _without_none(sizes)


def merged(sizes: Mapping[str, Any], stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, section by section; what a configuration states has priority."""
    result = dict(sizes)
    for key, value in stated.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def _object_encoder(shapes: Shapes) -> dict[str, Any]:
    patch = _size(shapes, f"{_VIT}conv1.weight", 2)
    positions = _size(shapes, f"{_VIT}pos_embed", 0)
    view = next(iter(_views(shapes) or ()), "")
    box = _mlp(shapes, f"obj_encoder.bbox_mlp.{view}.")
    return {
        "vit_output_dim": _size(shapes, f"{_VIT}projection", 1),
        "vit_resolution": round((positions - 1) ** 0.5) * patch if positions and patch else None,
        "vit_patch_size": patch,
        "vit_width": _size(shapes, f"{_VIT}conv1.weight", 0),
        "vit_layers": _count(shapes, rf"{re.escape(_VIT)}blocks\.(\d+)\.ln_1\.weight"),
        "bbox_mlp_hidden_dim": box["hidden_dim"],
        "bbox_mlp_hidden_depth": box["hidden_depth"],
    }


def _t5(shapes: Shapes) -> dict[str, Any]:
    bias = f"{_BLOCK}0.SelfAttention.relative_attention_bias.weight"
    heads, inner = _size(shapes, bias, 1), _size(shapes, f"{_BLOCK}0.SelfAttention.q.weight", 0)
    gated = f"{_BLOCK}1.DenseReluDense.wi_0.weight"
    return {
        "d_model": _size(shapes, "t5_prompt_encoder.t5.encoder.final_layer_norm.weight", 0),
        "d_kv": inner // heads if heads and inner else None,
        "d_ff": _size(shapes, f"{_BLOCK}1.DenseReluDense.wo.weight", 1),
        "num_layers": _count(
            shapes, r"t5_prompt_encoder\.t5\.encoder\.block\.(\d+)\.layer\.0\.layer_norm\.weight"
        ),
        "num_heads": heads,
        "relative_attention_num_buckets": _size(shapes, bias, 0),
        "feed_forward_proj": "gated-gelu" if gated in shapes else None,
    }


def _bins(shapes: Shapes) -> dict[str, tuple[int, ...]] | None:
    found = {}
    for part in PARTS:
        prefix = f"action_decoder._decoders.{part}.mlps."
        count = _count(shapes, rf"{re.escape(prefix)}(\d+)\.0\.weight") or 0
        sizes = [_last(shapes, f"{prefix}{index}.") for index in range(count)]
        found[part] = tuple(size for size in sizes if size is not None)
    return found if all(found.values()) else None


def _views(shapes: Shapes) -> tuple[str, ...] | None:
    names = {m[1] for n in shapes if (m := re.match(r"obj_encoder\.bbox_mlp\.([^.]+)\.", n))}
    return tuple(sorted(names)) or None


def _mlp(shapes: Shapes, prefix: str) -> dict[str, int | None]:
    """Return width and number of the hidden layers of a perceptron."""
    linear = _linear_layers(shapes, prefix)
    return {
        "hidden_dim": shapes[linear[0]][0] if len(linear) > 1 else None,
        "hidden_depth": len(linear) - 1 if linear else None,
    }


def _last(shapes: Shapes, prefix: str) -> int | None:
    linear = _linear_layers(shapes, prefix)
    return shapes[linear[-1]][0] if linear else None


def _linear_layers(shapes: Shapes, prefix: str) -> list[str]:
    pattern = re.compile(rf"{re.escape(prefix)}(\d+)\.weight")
    found = [(int(match[1]), name) for name in shapes if (match := pattern.fullmatch(name))]
    return [name for _, name in sorted(found)]


def _size(shapes: Shapes, name: str, dimension: int) -> int | None:
    shape = shapes.get(name, ())
    return shape[dimension] if len(shape) > dimension else None


def _ratio(shapes: Shapes, name: str) -> int | None:
    shape = shapes.get(name, ())
    return shape[0] // shape[1] if len(shape) == 2 else None


def _count(shapes: Shapes, pattern: str) -> int | None:
    return sum(re.fullmatch(pattern, name) is not None for name in shapes) or None


def _without_none(sizes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in sizes.items()
        if value is not None
    }
