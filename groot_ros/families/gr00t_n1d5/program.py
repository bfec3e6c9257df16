# SPDX-License-Identifier: Apache-2.0
"""Staged model of GR00T N1.5: four segments that compute the same values as the reference model.

"vision" converts the patches of all tiles to image tokens, "language" converts embeddings to
features, "context" converts features to keys and values, and "denoise" is one Euler step. The host
provides token embeddings, positions and time tables, which are cached per instruction and number
of steps.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from groot_ros.core.program import (
    Binding,
    FreeDim,
    ModelInputs,
    ProgramSpec,
    Segment,
    Tensors,
    TensorSpec,
)
from groot_ros.families.gr00t_n1d5.config import Gr00tN1d5Config
from groot_ros.families.gr00t_n1d5.network import Gr00tN1d5
from groot_ros.families.gr00t_n1d5.staged import Context, Vision, make_denoise
from groot_ros.families.gr00t_n1d5.weights import load_model
from groot_ros.layers.fusion import release_heap
from groot_ros.layers.packed_linear import can_pack, held_bytes, pack
from groot_ros.layers.patches import normalise_pixels, to_cell_patches
from groot_ros.layers.qwen3 import rope_1d
from groot_ros.layers.staged import Language
from groot_ros.layers.staged_head import conditioning_tensors, denoise_arguments, denoise_segment
from groot_ros.layers.time_tables import TimeEmbeddings, TimeTableCache, TimeTables

SEGMENTS = ("vision", "language", "context", "denoise")
#: Number of instructions whose constants are kept in memory.
_KEPT = 8
_CARRIED = ("tokens_before", "keys", "values")

_HEAD, _DIT = r"action_head\.", r"action_head\.model\."
_CROSS = r"transformer_blocks\.\d*[02468]\.attn1\.to_[kv]\..*"
_TIME = re.compile(
    _DIT + r"(timestep_encoder\..*|proj_out_1\..*|transformer_blocks\.\d+\.norm1\.linear\..*)"
)
_ENCODER = re.compile(_HEAD + r"action_encoder\.W[12]\..*")
_TOKENS = re.compile(r"backbone\.eagle_model\.language_model\.model\.embed_tokens\..*")
_WEIGHTS = {
    "vision": re.compile(r"backbone\.eagle_model\.(vision_model|mlp1)\..*"),
    "language": re.compile(
        r"backbone\.(eagle_model\.language_model\.model\.(layers|norm)|eagle_linear)\..*"
    ),
    "context": re.compile(
        _HEAD + r"(vlln\..*|vl_self_attention\..*|state_encoder\..*|future_tokens\..*"
        rf"|model\.{_CROSS})"
    ),
    "denoise": re.compile(
        _HEAD + r"(action_encoder\..*|(action|shared)_\w*decoder\..*|position_embedding\..*"
        r"|model\.proj_out_2\..*"
        rf"|model\.(?!{_CROSS})transformer_blocks\.\d+\.(attn1|ff)\..*)"
    ),
}


def program_spec(config: Gr00tN1d5Config) -> ProgramSpec:
    """Return the segments of a checkpoint's staged model and the tensors between them."""
    eagle, head = config.eagle, config.head
    text, vision, dit = eagle.text, eagle.vision, head.dit
    patch = vision.num_channels * vision.patch_size**2
    image_tokens = TensorSpec("image_tokens", ("views", eagle.tile_tokens, text.hidden_size))
    features = TensorSpec("features", (1, "tokens", config.feature_width))
    cross = (dit.num_layers + 1) // 2
    keys, values = (
        TensorSpec(name, (cross, dit.num_attention_heads, "tokens", dit.attention_head_dim))
        for name in ("keys", "values")
    )
    before = TensorSpec("tokens_before", (1, 1 + head.future_tokens, head.input_embedding_dim))
    segments = (
        Segment(
            "vision",
            "backbone",
            inputs=(TensorSpec("patches", ("views", vision.side**2, patch)),),
            outputs=(image_tokens,),
            observed=("tiles",),
        ),
        Segment(
            "language",
            "backbone",
            inputs=(
                TensorSpec("embeddings", (1, "tokens", text.hidden_size)),
                TensorSpec("cos", ("tokens", text.head_dim)),
                TensorSpec("sin", ("tokens", text.head_dim)),
            ),
            outputs=(features,),
            constants=("text_embeddings", "image_index", "cos", "sin"),
        ),
        Segment(
            "context",
            "head",
            inputs=(features, TensorSpec("state", (1, 1, head.max_state_dim))),
            outputs=(keys, values, before),
            observed=("state",),
        ),
        denoise_segment(
            horizon=head.action_horizon,
            columns=head.action_dim,
            layers=dit.num_layers,
            width=dit.inner_dim,
            tokens=before,
            keys_and_values=(keys, values),
        ),
    )
    free = {"views": FreeDim(2), "tokens": FreeDim(11)}
    return ProgramSpec(segments, results=("next_actions",), free_dims=free)


@dataclass(frozen=True)
class Prompt:
    """Constants of one instruction, on the device of the segments.

    Attributes:
        embeddings: token embeddings [1, S, D]; arbitrary at image tokens.
        image_index: int64 [Si], positions of the image tokens in the sequence.
        cos, sin: rotary angles of the language tower, [S, d].

    """

    embeddings: Tensor
    image_index: Tensor
    cos: Tensor
    sin: Tensor


class Prompts:
    """Cache of the constants of instructions; token embeddings stay on the host."""

    def __init__(
        self,
        config: Gr00tN1d5Config,
        tokens: nn.Embedding,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._config, self._tokens = config, tokens
        self._device, self._dtype = device, dtype
        self._kept: OrderedDict[bytes, Prompt] = OrderedDict()

    def of(self, ids: NDArray[np.int64]) -> Prompt:
        """Return the constants of token ids [S] without padding, from the cache if possible."""
        key = ids.tobytes()
        if key not in self._kept:
            self._kept[key] = self._make(torch.from_numpy(ids))
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    @torch.no_grad()
    def _make(self, ids: Tensor) -> Prompt:
        eagle = self._config.eagle
        index = (ids == eagle.image_token_index).nonzero()[:, 0]
        text = eagle.text
        cos, sin = rope_1d(len(ids), text.head_dim, text.rope_theta, torch.device("cpu"))
        embeddings = self._tokens(ids.to(self._tokens.weight.device))[None]
        return Prompt(
            embeddings.to(self._device, self._dtype),
            index.to(self._device),
            cos.to(self._device, self._dtype),
            sin.to(self._device, self._dtype),
        )

    @property
    def nbytes(self) -> int:
        """Return the memory of the embeddings on the host in bytes."""
        return self._tokens.weight.nbytes


class StagedModel:
    """`core.program.Program` of a checkpoint for one embodiment.

    Attributes:
        config: configuration of the network.
        spec: segments; see `program_spec`.
        device, dtype: device and element type of the segments.
        prompts: cache of constants by instruction.
        tables: cache of constants by number of denoising steps.

    """

    def __init__(
        self,
        config: Gr00tN1d5Config,
        device: torch.device,
        dtype: torch.dtype,
        prompts: Prompts,
        tables: TimeTableCache,
        modules: Mapping[str, nn.Module],
    ) -> None:
        self.config = config
        self.spec = program_spec(config)
        self.device, self.dtype = device, dtype
        self.prompts, self.tables = prompts, tables
        self._modules = dict(modules)
        for module in self._modules.values():
            module.requires_grad_(False).eval()

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """Return the loaded segments by name."""
        return self._modules

    @property
    def nbytes(self) -> int:
        """Return the memory on the device in bytes: weights, tables, and on a CPU embeddings."""
        host = self.tables.nbytes + (self.prompts.nbytes if self.device.type == "cpu" else 0)
        return sum(map(held_bytes, self._modules.values())) + host

    def pack(self) -> "StagedModel":
        """Reorder the weights for the CPU's kernels if possible, and return this model."""
        if can_pack(self.device):
            for module in self._modules.values():
                pack(module)
        return self

    def bind(self, inputs: ModelInputs, steps: int) -> Binding:
        """See `core.program.Program.bind`; the inputs come from `processor.Processor`.

        Raises:
            ValueError: the tiles do not give as many tokens as there are image token ids, or
                `steps` is less than 1.

        """
        ids = inputs["input_ids"][0][inputs["attention_mask"][0] == 1]
        prompt = self.prompts.of(ids)
        given = len(inputs["tiles"]) * self.config.eagle.tile_tokens
        if given != len(prompt.image_index):
            raise ValueError(
                f"the images give {given} tokens but input_ids hold {len(prompt.image_index)} "
                f"of id {self.config.eagle.image_token_index} (image_token_index)"
            )
        names = ("tiles", "state", "noise")
        observed = {name: torch.from_numpy(inputs[name]) for name in names}
        observed |= conditioning_tensors(inputs)
        return self.bound(prompt, self.tables.of(steps), observed)

    def bound(self, prompt: Prompt, tables: TimeTables, observed: Mapping[str, Tensor]) -> Binding:
        """Return a binding of the observed host tensors, a prompt and time tables."""
        constants = {
            "text_embeddings": prompt.embeddings,
            "image_index": prompt.image_index,
            "cos": prompt.cos,
            "sin": prompt.sin,
            **{f"table.{name}": tensor for name, tensor in vars(tables).items()},
        }
        return Binding(constants, observed, counts={"steps": tables.steps})

    def arguments(self, segment: str, index: int, tensors: Tensors) -> Sequence[Tensor]:
        """See `core.program.Program.arguments`."""
        t = tensors
        if segment == "vision":
            eagle = self.config.eagle
            tiles = to_cell_patches(t["tiles"], eagle.vision.patch_size, eagle.shuffle)
            return [normalise_pixels(tiles).to(self.dtype)]
        if segment == "language":
            tokens = t["image_tokens"].flatten(0, 1)[None]
            embeddings = t["text_embeddings"].index_copy(1, t["image_index"], tokens)
            return [embeddings, t["cos"], t["sin"]]
        if segment == "context":
            return [t["features"], t["state"].to(self.dtype)]
        return denoise_arguments(index, t, _CARRIED)


def make_staged(
    model: Gr00tN1d5, *, embodiment: int = 0, step_counts: Collection[int] = ()
) -> StagedModel:
    """Convert a reference model to a staged model; the reference model cannot run afterwards.

    The weights of the time embeddings are not part of the segments and are kept.

    Args:
        model: reference model; its device and precision are those of the result. On "meta" the
            result cannot run, but its size can be counted.
        embodiment: row of the category-specific weights.
        step_counts: numbers of denoising steps whose tables are computed now.

    """
    device, dtype = model.device, model.action_head.dtype
    embeddings = TimeEmbeddings(model.action_head, embodiment)
    tables = TimeTableCache(lambda: embeddings, device, dtype)
    tables.compute(step_counts)
    tokens = model.backbone.eagle_model.text.embed_tokens
    if device.type != "meta":
        tokens.cpu()
    prompts = Prompts(model.config, tokens, device, dtype)
    modules = _segments(model, embodiment, SEGMENTS)
    return StagedModel(model.config, device, dtype, prompts, tables, modules)


def load_staged(
    directory: Path,
    config: Gr00tN1d5Config,
    *,
    embodiment: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    segments: Collection[str] = SEGMENTS,
    step_counts: Collection[int] = (),
    progress: Callable[[float], None] | None = None,
) -> StagedModel:
    """Read the staged model of a checkpoint; only weights of the given segments are read.

    The weights of the time embeddings are read first and released after use; a new number of
    steps reads them again. Token embeddings stay on the host.

    Args:
        directory: contains model.safetensors, or shards and their index.
        config: configuration of the network.
        embodiment: row of the category-specific weights.
        device: device of the segments.
        dtype: element type of the weights.
        segments: names of the segments to load.
        step_counts: numbers of denoising steps whose tables are computed now.
        progress: called with the fraction of the segments' bytes read so far.

    Raises:
        CheckpointError: see `weights.load_model`.

    """
    read = partial(load_model, directory, config, embodiment=embodiment, dtype=dtype)
    device = torch.device(device)

    def time_embeddings() -> TimeEmbeddings:
        return TimeEmbeddings(read(only=_matching(_TIME, _ENCODER)).action_head, 0)

    tables = TimeTableCache(time_embeddings, device, dtype)
    tables.compute(step_counts)
    release_heap()
    kept = read(only=_matching(_TOKENS)).backbone.eagle_model
    prompts = Prompts(config, kept.text.embed_tokens, device, dtype)
    patterns = [pattern for name, pattern in _WEIGHTS.items() if name in segments]
    model = read(only=_matching(*patterns), device=device, progress=progress)
    return StagedModel(config, device, dtype, prompts, tables, _segments(model, 0, segments))


def _matching(*patterns: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda name: any(pattern.fullmatch(name) for pattern in patterns)


@torch.no_grad()
def _segments(model: Gr00tN1d5, row: int, names: Collection[str]) -> dict[str, nn.Module]:
    config, eagle, head = model.config, model.backbone.eagle_model, model.action_head
    linear = None if config.backbone.project_to_dim is None else model.backbone.eagle_linear
    make: dict[str, Callable[[], nn.Module]] = {
        "vision": lambda: Vision(config.eagle, eagle),
        "language": lambda: Language(config.eagle.text, eagle.text, linear),
        "context": lambda: Context(config.head, head, row),
        "denoise": lambda: make_denoise(config.head, head, row),
    }
    return {name: make[name]() for name in SEGMENTS if name in names}
