# SPDX-License-Identifier: Apache-2.0
"""Golden sets of the image pipeline and of tokenized prompts."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from golden.arrays import Arrays, BrokenSetError, GoldenSet
from golden.comparison import TOKENIZER, Comparison, UnavailableError, same
from groot_ros.checkpoint.locate import has_tokenizer
from groot_ros.families.gr00t_n1d6.image_pipeline import ImagePipeline, token_grid_size
from groot_ros.families.gr00t_n1d6.processor import build_prompt, formalise
from groot_ros.families.gr00t_n1d6.processor_config import ProcessorConfig
from groot_ros.layers.patches import normalise_pixels
from groot_ros.processing.tokenizer import TextTokenizer

FILES = ("images.json", "prompts.json", "arrays.npz")
#: Settings that the sets were made with, unless they contain others.
_EDGE, _CROP = 256, 0.95


def belongs(folder: Path) -> bool:
    """Return True: no other model has sets with these files."""
    return True


def comparisons(source: GoldenSet) -> Iterator[Comparison]:
    yield from _images(source)
    arrays = source.arrays("arrays.npz")
    pixels = [name for name in arrays if name.startswith("pixel_values_")]
    if not pixels:
        raise BrokenSetError("arrays.npz has no 'pixel_values_*': nothing can be compared")
    for name in pixels:
        stem = name.removeprefix("pixel_values_")
        path = source.folder / "png" / f"{stem}_vlm.png"
        image = torch.from_numpy(_rgb(path).transpose(2, 0, 1))
        yield same(name, normalise_pixels(image)[None], arrays[name])
    yield from _prompts(source, arrays)


def _images(source: GoldenSet) -> Iterator[Comparison]:
    folder, listed = source.folder, source.json("images.json")
    for entry in _filled(listed, "images.json", "geometry"):
        pipeline = _pipeline(entry.get("config", {}))
        image = _rgb(folder / entry["input"])
        name = Path(entry["vlm_image"]).stem
        transformed = pipeline.transform(image).transpose(1, 2, 0)
        yield same(f"{name}: transform", transformed, _rgb(folder / entry["after_transform"]))
        seen = pipeline(image)
        yield same(name, seen.transpose(1, 2, 0), _rgb(folder / entry["vlm_image"]))
        yield same(f"{name}: tokens", pipeline.tokens(seen), entry["num_image_tokens"])
    if not listed.get("smart_resize_h_w_to_h_w"):
        source.lacks("smart_resize_h_w_to_h_w")
        return
    sizes = np.array(listed["smart_resize_h_w_to_h_w"])
    ours = np.array([(h, w, *token_grid_size(h, w, 28)) for h, w in sizes[:, :2].tolist()])
    yield same("smart_resize sizes", ours, sizes)


def _filled(listed: dict, file: str, key: str) -> list:
    """Return a list that must not be empty."""
    if not listed.get(key):
        raise BrokenSetError(f"{file} has no '{key}': nothing can be compared")
    return listed[key]


def _pipeline(changes: dict) -> ImagePipeline:
    config = ProcessorConfig(
        {},
        shortest_image_edge=changes.get("edge", _EDGE),
        crop_fraction=changes.get("crop", _CROP),
        image_crop_size=changes.get("image_crop_size"),
        image_target_size=changes.get("image_target_size"),
    )
    return ImagePipeline.of(config)


def _rgb(path: Path) -> np.ndarray:
    return np.array(Image.open(path).convert("RGB"))


def _prompts(source: GoldenSet, arrays: Arrays) -> Iterator[Comparison]:
    golden = source.json("prompts.json")
    for name in ("formalized", "tokenizer_probes", "special_ids"):
        if not golden[name]:
            source.lacks(name)
    runs = _filled(golden, "prompts.json", "runs")
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
    for run in runs:
        yield from _run(run, tokenizer, arrays)


def _run(run: dict, tokenizer: TextTokenizer, arrays: Arrays) -> Iterator[Comparison]:
    """Compare token ids, mask and image sizes of one batch."""
    pipeline = _pipeline(run.get("config", {}))
    seen = [pipeline(np.zeros((h, w, 3), dtype=np.uint8)) for h, w in run["input_hw"]]
    frames = seen * run["frames_per_view"]
    rows = []
    for text, chat in zip(run["language"], run["chat_text"], strict=True):
        shown = formalise(text) if formalise(text) + "<image-1>" in chat else text
        rows.append(tokenizer.encode(build_prompt(shown, [pipeline.tokens(i) for i in frames])))
    length = max(map(len, rows))
    ids = [[tokenizer.pad_id] * (length - len(row)) + row for row in rows]
    mask = [[0] * (length - len(row)) + [1] * len(row) for row in rows]
    sizes = [image.shape[1:] for image in frames] * len(rows)
    found = {"input_ids": ids, "attention_mask": mask, "image_sizes": sizes}
    for name, value in found.items():
        yield same(f"{run['name']}.{name}", np.array(value), arrays[f"{run['name']}.{name}"])
