# SPDX-License-Identifier: Apache-2.0
"""Golden sets of VIMA: config.json, state_dict, inputs, outputs, and the views of the inputs."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from golden.arrays import Arrays, GoldenSet
from golden.comparison import Comparison, UnavailableError, compare, same
from groot_ros.checkpoint.safetensors_file import read_header
from groot_ros.core.config_reader import Fields
from groot_ros.families.vima.actions import from_bins, to_bins
from groot_ros.families.vima.checkpoint import network_of
from groot_ros.families.vima.config import PARTS
from groot_ros.families.vima.controller import PromptMemory
from groot_ros.families.vima.network import Vima
from groot_ros.families.vima.object_encoder import ObjectTensors
from groot_ros.families.vima.prompt import PICTURE
from groot_ros.vision.objects import View, find_objects

FILES = ("config.json", "state_dict.safetensors", "inputs.safetensors", "outputs.safetensors")
RAW = "raw_views.safetensors"


def belongs(folder: Path) -> bool:
    """Tell whether the set is of VIMA."""
    names = read_header(folder / "state_dict.safetensors")
    return "xattn_gpt.positions_embed.weight" in names


def comparisons(source: GoldenSet) -> Iterator[Comparison]:
    inputs, golden = (source.tensors(f"{k}.safetensors") for k in ("inputs", "outputs"))
    stated = Fields.read(source.folder / "config.json")
    if (source.folder / RAW).is_file():
        yield from _cutting(source.tensors(RAW), inputs)
    else:
        source.lacks(RAW)
    if importlib.util.find_spec("transformers") is None:
        raise UnavailableError("transformers is not installed: pip install 'groot_ros[vima]'")
    weights = dict(source.tensors("state_dict.safetensors"))
    network = network_of(
        stated.section("config").value, weights, source.folder / "state_dict.safetensors"
    )
    prompt = yield from _prompt(network, stated.get("prompt_token_types"), inputs, golden)
    yield from _actions(network, inputs, golden)
    yield from _steps(network, prompt, inputs, golden)


def _pictures(inputs: Arrays, prefix: str, views: tuple[str, ...]) -> ObjectTensors:
    crops, boxes, mask = (
        {view: inputs[f"{prefix}.{name}.{view}"] for view in views}
        for name in ("cropped_img", "bbox", "mask")
    )
    return ObjectTensors(crops, boxes, mask)


def _prompt(
    network: Vima, items: list[list[int]], inputs: Arrays, golden: Arrays
) -> Iterator[Comparison]:
    """Compare the encoded prompt, and return it as the controller attends to it."""
    words = inputs["prompt.words"]
    pictures = None
    if any(PICTURE in prompt for prompt in items):
        pictures = _pictures(inputs, "prompt", network.config.views)
        objects = network.obj_encoder(pictures)
        yield from golden.optional("prompt_obj_emb", objects)
        yield from golden.optional("prompt_obj_emb_post", network.prompt_obj_post_layer(objects))
    yield from golden.optional("prompt_word_emb", network.prompt_embedding(words))
    tokens, mask = network.assemble_prompt(items, words, pictures)
    encoded = network.encode_prompt(tokens, mask)
    yield same("prompt_mask", mask, golden["prompt_mask"])
    yield compare("prompt_token", encoded, golden["prompt_token"].transpose(0, 1))
    return network.xattn_gpt.remember(encoded, mask)


def _actions(network: Vima, inputs: Arrays, golden: Arrays) -> Iterator[Comparison]:
    names = [f"action.{part}" for part in PARTS]
    if not inputs.has(*names):
        return
    bins = to_bins({part: inputs[f"action.{part}"] for part in PARTS}, network.config.bins)
    values = from_bins(bins, network.config.bins)
    for part in PARTS:
        yield from golden.optional(f"action_bins.{part}", bins[part], same)
        yield from golden.optional(f"action_from_bins.{part}", values[part])
    yield from golden.optional("action_token", network.action_tokens(bins))


def _steps(
    network: Vima, prompt: PromptMemory, inputs: Arrays, golden: Arrays
) -> Iterator[Comparison]:
    """Compare all steps together, then each step after the history of those before."""
    pictures = _pictures(inputs, "obs.objects", network.config.views)
    tokens = network.observation_tokens(pictures, inputs["obs.ee"])
    visible = pictures.visible()
    yield from golden.optional("obs_token", tokens)
    yield from golden.optional("obs_mask", visible, same)
    # The sets have time first, the network has the batch first.
    tokens, visible = tokens.transpose(0, 1), visible.transpose(0, 1)
    steps = tokens.shape[1]
    actions = None
    if steps > 1:
        bins = to_bins({part: inputs[f"action.{part}"] for part in PARTS}, network.config.bins)
        actions = network.action_tokens(bins).transpose(0, 1)[:, : steps - 1]
    together, _ = network.predict(tokens, visible, actions, prompt)
    expected = golden["predicted_action_tokens"].transpose(0, 1)
    yield compare("predicted_action_tokens", together, expected)
    apart = torch.cat(list(_one_by_one(network, tokens, visible, actions, prompt)), dim=1)
    yield compare("predicted_action_tokens (step by step)", apart, expected)
    first = apart[:, :1].transpose(0, 1)
    yield from golden.optional("predicted_first_step", first)
    for label, predicted in (("", together), (" (step by step)", apart)):
        yield from _decoded(network, predicted.transpose(0, 1), golden, label)


def _one_by_one(
    network: Vima, tokens: Tensor, visible: Tensor, actions: Tensor | None, prompt: PromptMemory
) -> Iterator[Tensor]:
    history = None
    for step in range(tokens.shape[1]):
        now = slice(step, step + 1)
        before = None if actions is None or step == 0 else actions[:, step - 1 : step]
        predicted, history = network.predict(
            tokens[:, now], visible[:, now], before, prompt, history
        )
        yield predicted


def _decoded(network: Vima, predicted: Tensor, golden: Arrays, label: str) -> Iterator[Comparison]:
    decoder = network.action_decoder
    scores = decoder(predicted)
    bins = decoder.most_likely(scores)
    values = from_bins(bins, network.config.bins)
    log = decoder.log_probabilities(scores)
    for part in PARTS:
        for name, ours in (("raw_logits", scores), ("log_probs", log), ("mode_value", values)):
            key = f"{name}.{part}"
            yield from golden.optional(key, ours[part], label=key + label)
        yield same(f"mode.{part}{label}", bins[part], golden[f"mode.{part}"])


def _cutting(raw: Arrays, inputs: Arrays) -> Iterator[Comparison]:
    """Cut the observed objects out of the views; row b of the batch is raw.obs{b}."""
    for row in sorted({name.split(".")[1] for name in raw}):
        batch = int(row.removeprefix("obs"))
        names = sorted({n.rpartition(".")[2] for n in raw if n.startswith(f"raw.{row}.rgb.")})
        rgb = {view: raw[f"raw.{row}.rgb.{view}"].numpy() for view in names}
        labels = {view: raw[f"raw.{row}.segm.{view}"].numpy() for view in names}
        ids = sorted({int(i) for view in names for i in set(labels[view].flat)} - {0})
        for step in range(len(rgb[names[0]])):
            views = {v: View(rgb[v][step].transpose(1, 2, 0), labels[v][step]) for v in names}
            # An object that no view ever shows has padded slots.
            slots = {v: inputs[f"obs.objects.mask.{v}"].shape[-1] for v in names}
            ours = find_objects(views, ids, allow_hidden=True).padded(slots)
            for view in names:
                for name, arrays in (
                    ("cropped_img", ours.crops),
                    ("bbox", ours.boxes),
                    ("mask", ours.mask),
                ):
                    theirs = inputs[f"obs.objects.{name}.{view}"][step, batch]
                    yield same(f"{row}.{name}.{view}[{step}]", arrays[view], theirs)
