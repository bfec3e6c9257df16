# SPDX-License-Identifier: Apache-2.0
"""Golden sets of GR00T N1.5's processors: NVIDIA's transform chains and LeRobot's steps."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from golden.arrays import Arrays, BrokenSetError, GoldenSet
from golden.comparison import TOKENIZER, TOLERANCE, Comparison, UnavailableError, compare, same
from groot_ros.checkpoint.locate import has_tokenizer
from groot_ros.core.config_reader import Fields
from groot_ros.families.gr00t_n1d5.codec import StateActionCodec
from groot_ros.families.gr00t_n1d5.data_config import DataConfig
from groot_ros.families.gr00t_n1d5.images import ImagePreparation
from groot_ros.families.gr00t_n1d5.metadata import (
    LEROBOT_ROWS,
    Layout,
    lerobot_layout,
    read_metadata,
)
from groot_ros.families.gr00t_n1d5.processor import build_prompt, prompt_text
from groot_ros.layers.patches import normalise_pixels
from groot_ros.processing.tokenizer import TextTokenizer

FILES = ("spec.json", "inputs.npz", "outputs.safetensors")
#: Image tokens of one tile of the published model.
_TOKENS = 256
_TILE, _HORIZON, _STATES, _ACTIONS = 224, 16, 64, 32


def belongs(folder: Path) -> bool:
    """Return True: no other model has sets with these files."""
    return True


def comparisons(source: GoldenSet) -> Iterator[Comparison]:
    spec = source.json("spec.json")
    inputs, golden = source.arrays("inputs.npz"), source.tensors("outputs.safetensors")
    if "transforms" in spec:
        yield from _nvidia(source, spec, inputs, golden)
    elif (source.folder / "dataset_stats.safetensors").is_file():
        yield from _lerobot(source, spec, inputs, golden)
    else:
        raise BrokenSetError("spec.json has no 'transforms', and there is no dataset_stats file")


def data_config(spec: Mapping[str, Any]) -> DataConfig:
    """Return the data configuration that a set's transforms describe."""
    modes: dict[str, str] = {}
    rotations: dict[str, str] = {}
    for transform in spec["transforms"]:
        if transform["name"] == "StateActionSinCosTransform":
            modes |= dict.fromkeys(transform["apply_to"], "sin_cos")
        modes |= transform.get("normalization_modes", {})
        rotations |= transform.get("target_rotations", {})
    cropped = any(t["name"] == "VideoCrop" for t in spec["transforms"])

    def names(kind: str) -> tuple[str, ...]:
        return tuple(name.removeprefix(f"{kind}.") for name in spec[f"{kind}_order"])

    def of(found: dict[str, str], kind: str) -> dict[str, str]:
        start = f"{kind}."
        return {k.removeprefix(start): v for k, v in found.items() if k.startswith(start)}

    return DataConfig(
        names("video"),
        names("state"),
        names("action"),
        of(modes, "state"),
        of(modes, "action"),
        of(rotations, "state"),
        of(rotations, "action"),
        spec.get("crop_scale", 0.95) if cropped else 1.0,
    )


def _nvidia(
    source: GoldenSet, spec: Mapping[str, Any], inputs: Arrays, golden: Arrays
) -> Iterator[Comparison]:
    config = data_config(spec)
    metadata = Fields.read(source.folder / "metadata.json")
    tag = next(
        (t for t in metadata.value if _tag(metadata, t) == spec["embodiment_tag"]),
        spec["embodiment_tag"],
    )
    layout = read_metadata(source.folder, tag, config)
    columns = spec.get("max_state_dim", _STATES), spec.get("max_action_dim", _ACTIONS)
    codec = StateActionCodec(layout, spec.get("action_horizon", _HORIZON), *columns)
    rows = len(inputs[f"state.{config.state[0]}"])
    state, mask = [], np.zeros((rows, 1, columns[0]), dtype=bool)
    mask[..., : sum(group.encoded_width for group in layout.state)] = True
    for b in range(rows):
        state.append(codec.encode_state({g: inputs[f"state.{g}"][b] for g in config.state}))
    mask = np.broadcast_to(mask[:, :1], (rows, len(state[0]), columns[0]))
    for prefix in ("eval", "train"):
        yield from golden.optional(f"{prefix}.state", np.stack(state), _exactly_normalised)
        yield from golden.optional(f"{prefix}.state_mask", mask, same)
        row = np.full(rows, layout.row)
        yield from golden.optional(f"{prefix}.embodiment_id", row, same)
    if all(f"action.{g}" in inputs for g in config.action):
        encoded = [
            codec.encode_action({g: inputs[f"action.{g}"][b] for g in config.action})
            for b in range(rows)
        ]
        actions = np.stack([action for action, _ in encoded])
        yield from golden.optional("train.action", actions, _exactly_normalised)
        masks = np.stack([mask for _, mask in encoded])
        yield from golden.optional("train.action_mask", masks, same)
    if "model_action" in inputs:
        for group, values in codec.decode_action(inputs["model_action"]).items():
            yield _decoded(f"unapply.action.{group}", values, golden, layout, group)
    yield from _nvidia_images(source, spec, config, inputs)
    texts = spec["texts"]
    count = len(config.video) * inputs[f"video.{config.video[0]}"].shape[1]
    for name, training in (("eval", False), ("eval_plain", True), ("train", True)):
        shown = [prompt_text(text, layout, training) for text in texts]
        if f"{name}.eagle_input_ids" in golden:
            yield from _prompt_ids(name, shown, count, golden)
    for name, shown in (
        ("eval.prompt_listed", [prompt_text(text, layout) for text in texts]),
        ("eval.prompt_plain", [prompt_text(text, layout, True) for text in texts]),
        ("eval.prompt_no_language", [prompt_text("", layout)]),
    ):
        if name in spec:
            yield from _prompts(name, shown, count, spec[name])
    for name, side in (("eval", spec["resize"]), ("train", spec["resize"])):
        key = f"{name}.eagle_image_sizes"
        yield from golden.optional(key, np.tile(side, (rows * count, 1)), same)


def _tag(metadata: Fields, tag: str) -> str:
    return metadata.section(tag).text("embodiment_tag", tag)


def _exactly_normalised(name: str, ours: Any, golden: Any) -> Comparison:
    return compare(name, ours, golden, TOLERANCE)


def _decoded(
    name: str, values: np.ndarray, golden: Arrays, layout: Layout, group: str
) -> Comparison:
    found = next(g for g in layout.action if g.name == group)
    half = float((found.high - found.low).max()) / 2.0
    return compare(name, values, golden[name], TOLERANCE * max(1.0, half))


def _nvidia_images(
    source: GoldenSet, spec: Mapping[str, Any], config: DataConfig, inputs: Arrays
) -> Iterator[Comparison]:
    if not (source.folder / "images_out.npz").is_file():
        source.lacks("images_out.npz")
        return
    golden = source.arrays("images_out.npz")
    prepare = ImagePreparation(spec.get("resize", [_TILE])[0], config.crop)
    views = [inputs[f"video.{view}"] for view in config.video]
    rows, frames = views[0].shape[:2]
    tiles = np.stack(
        [prepare(view[b, t]) for b in range(rows) for t in range(frames) for view in views]
    )
    ordered = tiles.reshape(rows, frames, len(views), *tiles.shape[1:])
    video = ordered.transpose(0, 1, 2, 4, 5, 3)
    yield from golden.optional("video_after_transforms", video, same)
    yield from golden.optional("eagle_pixel_values_u8", tiles, same)
    yield from golden.optional("eagle_pixel_values", normalise(tiles))


def normalise(tiles: np.ndarray) -> Any:
    """Return the network's input of tiles."""
    import torch

    return normalise_pixels(torch.from_numpy(tiles))


def tokenizer() -> TextTokenizer:
    if not has_tokenizer(TOKENIZER):
        raise UnavailableError(f"needs a tokenizer in {TOKENIZER}")
    return TextTokenizer.load(TOKENIZER)


def _prompt_ids(
    name: str, texts: Sequence[str], images: int, golden: Arrays
) -> Iterator[Comparison]:
    found = tokenizer()
    rows = [found.encode(build_prompt(text, images, _TOKENS)) for text in texts]
    length = max(map(len, rows))
    ids = np.array([[found.pad_id] * (length - len(row)) + row for row in rows])
    mask = np.array([[0] * (length - len(row)) + [1] * len(row) for row in rows])
    dot = f"{name}." if name else ""
    yield from golden.optional(f"{dot}eagle_input_ids", ids, same)
    yield from golden.optional(f"{dot}eagle_attention_mask", mask, same)


def _prompts(
    name: str, texts: Sequence[str], images: int, golden: Sequence[str]
) -> Iterator[Comparison]:
    context = "<IMG_CONTEXT>"
    for k, (text, expected) in enumerate(zip(texts, golden, strict=False)):
        prompt = build_prompt(text, images, _TOKENS).replace(
            context * _TOKENS, f"{context}*{_TOKENS}"
        )
        yield same(f"{name}.{k}", prompt == expected, True)


def _lerobot(
    source: GoldenSet, spec: Mapping[str, Any], inputs: Arrays, golden: Arrays
) -> Iterator[Comparison]:
    statistics = {k: v.numpy() for k, v in source.tensors("dataset_stats.safetensors").items()}
    state, action = inputs["observation.state"], inputs["action"]
    width = spec.get("env_action_dim") or action.shape[-1]
    views = tuple(sorted(name for name in inputs if name.startswith("observation.images.")))

    def layout(scaled: bool = True, formalise: bool = False) -> Layout:
        return lerobot_layout(
            tag="new_embodiment",
            row=LEROBOT_ROWS["new_embodiment"],
            views=views,
            widths=(state.shape[-1], width),
            statistics=(statistics, statistics),
            scaled=(scaled, scaled),
            formalise=formalise,
        )

    rows = len(state)
    for name, scaled, (states, actions, horizon), given in (
        ("chunk", True, _sizes("chunk", golden), action),
        ("single", True, _sizes("single", golden), action[:, :1]),
        ("no_norm", False, _sizes("no_norm", golden), action),
        *(
            (name, True, _sizes(name, golden), action)
            for name in sorted({k.partition(".")[0] for k in golden if k.startswith("truncate")})
        ),
    ):
        if f"{name}.state" not in golden:
            continue
        codec = StateActionCodec(layout(scaled), horizon, states, actions)
        encoded = np.stack([codec.encode_state({"state": s[None]}) for s in state])
        yield from golden.optional(f"{name}.state", encoded, _exactly_normalised)
        mask = np.zeros(encoded.shape, dtype=bool)
        mask[..., : state.shape[-1]] = True
        yield from _if_there(f"{name}.state_mask", mask, golden)
        chunk = [np.concatenate([a, np.repeat(a[-1:], horizon, axis=0)])[:horizon] for a in given]
        pairs = [codec.encode_action({"action": a}) for a in chunk]
        values = np.stack([a for a, _ in pairs])
        yield from golden.optional(f"{name}.action", values, _exactly_normalised)
        yield from _if_there(f"{name}.action_mask", np.stack([m for _, m in pairs]), golden)
        row = np.full(rows, LEROBOT_ROWS["new_embodiment"])
        yield from _if_there(f"{name}.embodiment_id", row, golden)
    yield from _unpacked(layout, inputs, golden)
    yield from _lerobot_texts(spec, layout)
    yield from _lerobot_images(source, inputs, views)
    shown = [prompt_text(spec["chunk.language"], layout())] * rows
    yield from _prompts("prompt", shown, len(views), spec["prompt"])
    if "eagle_image_sizes" in golden:
        # The sizes before tiling are not used by the model.
        h, w = inputs[views[0]].shape[-2:]
        yield same(
            "eagle_image_sizes",
            np.tile((h, w), (rows * len(views), 1)),
            golden["eagle_image_sizes"],
        )
    if "eagle_input_ids" in golden:
        yield from _prompt_ids("", shown, len(views), golden)


def _if_there(name: str, value: np.ndarray, golden: Arrays) -> Iterator[Comparison]:
    if name in golden:
        yield same(name, value, golden[name])


def _sizes(name: str, golden: Arrays) -> tuple[int, int, int]:
    """Return the columns of state and action, and the steps, of one case."""
    if f"{name}.state" not in golden or f"{name}.action" not in golden:
        return _STATES, _ACTIONS, _HORIZON
    action = golden[f"{name}.action"]
    return golden[f"{name}.state"].shape[-1], action.shape[-1], action.shape[-2]


def _unpacked(layout: Any, inputs: Arrays, golden: Arrays) -> Iterator[Comparison]:
    actions = inputs["model_action"]
    codec = StateActionCodec(layout(), actions.shape[1], _STATES, actions.shape[2])
    values = codec.decode_action(actions)["action"]
    group = layout().action[0]
    half = max(1.0, float((group.high - group.low).max()) / 2.0)
    for name, ours in (
        ("per_step", values),
        ("chunk_input_gives_last_step", values[:, -1]),
    ):
        key = f"unpack.{name}"
        if name == "per_step" or golden.has(key):
            yield compare(key, ours, golden[key], TOLERANCE * half)
    key = "unpack.no_env_dim"
    if key in golden:
        # The sets unpack the first step; the statistics of other columns are zero.
        padded = np.zeros_like(golden[key].numpy())
        padded[:, : group.width] = values[:, 0]
        yield compare(key, padded, golden[key], TOLERANCE * half)


def _lerobot_texts(spec: Mapping[str, Any], layout: Any) -> Iterator[Comparison]:
    for k, case in enumerate(spec.get("language_cases", ())):
        task = case["task"]
        first = (task[0] if task else "") if isinstance(task, list) else task or ""
        ours = prompt_text(first, layout(formalise=case["formalize"]))
        yield same(f"language_cases.{k}", ours == str([case["language"]]), True)
    for tag, row in spec.get("embodiment_ids", {}).items():
        yield same(f"embodiment_ids.{tag}", LEROBOT_ROWS.get(tag, 0), row)


def _lerobot_images(
    source: GoldenSet, inputs: Arrays, views: Sequence[str]
) -> Iterator[Comparison]:
    if not (source.folder / "images_out.npz").is_file():
        source.lacks("images_out.npz")
        return
    golden = source.arrays("images_out.npz")
    key = "eagle_pixel_values_u8"
    side = golden[key].shape[-1] if key in golden else _TILE
    prepare = ImagePreparation(side, lerobot=True)
    rows = len(inputs[views[0]])
    frames = [inputs[view][b] for b in range(rows) for view in views]
    tiles = np.stack([prepare(frame.transpose(1, 2, 0)) for frame in frames])
    yield same(key, tiles, golden[key])
    if golden.has("video"):
        shape = golden["video"].shape
        yield same(
            "video", np.stack([prepare.bytes_of(f) for f in frames]).reshape(shape), golden["video"]
        )
