# SPDX-License-Identifier: Apache-2.0
"""Staged model of the GR00T families: four segments with the reference model's values.

"vision" converts the patches of images to image tokens, "language" converts embeddings to
features, "context" converts features to keys and values, and "denoise" is one Euler step. The host
provides token embeddings, positions and time tables, which are cached per prompt and number of
steps.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from groot_ros.core.program import (
    Binding,
    ModelInputs,
    ProgramSpec,
    Segment,
    Tensors,
    TensorSpec,
)
from groot_ros.families.gr00t.network import Gr00tNetwork
from groot_ros.families.gr00t.prompts import Prompt, Prompts
from groot_ros.families.gr00t.weights import WeightFiles
from groot_ros.layers.eagle import Eagle
from groot_ros.layers.fusion import release_heap
from groot_ros.layers.packed_linear import can_pack, held_bytes, pack
from groot_ros.layers.patches import normalise_pixels, to_cell_patches
from groot_ros.layers.qwen3 import TextConfig
from groot_ros.layers.time_tables import TimeEmbeddings, TimeTableCache, TimeTables

if TYPE_CHECKING:
    from typing_extensions import Self

SEGMENTS = ("vision", "language", "context", "denoise")

#: Beginnings of the names of the head's and the transformer's parameters.
HEAD, DIT = r"action_head\.", r"action_head\.model\."
#: Keys and values of cross-attention, which belong to the context.
CROSS = r"transformer_blocks\.\d*[02468]\.attn1\.to_[kv]\..*"
#: The other parameters of the transformer that belong to the denoising step.
STEP = rf"model\.proj_out_2\..*|model\.(?!{CROSS})transformer_blocks\.\d+\.(attn1|ff)\..*"
_TIME = re.compile(
    DIT + r"(timestep_encoder\..*|proj_out_1\..*|transformer_blocks\.\d+\.norm1\.linear\..*)"
    rf"|{HEAD}action_encoder\.W[12]\..*"
)


class StagedModel:
    """`core.program.Program` of a checkpoint for one embodiment; each family has a subclass.

    Attributes:
        config: configuration of the network.
        spec: segments; see `program_spec`.
        device, dtype: device and element type of the segments.
        prompts: cache of constants by prompt.
        tables: cache of constants by number of denoising steps.

    """

    #: Names of the weights.
    weights: ClassVar[WeightFiles[Any]]
    #: Segment -> names of its parameters.
    segment_weights: ClassVar[Mapping[str, re.Pattern[str]]]
    #: Names of the parameters that stay on the host.
    host_weights: ClassVar[re.Pattern[str]]

    def __init__(
        self,
        config: Any,
        device: torch.device,
        dtype: torch.dtype,
        prompts: Any,
        tables: TimeTableCache,
        modules: Mapping[str, nn.Module],
    ) -> None:
        self.config = config
        self.spec = self.program_spec(config)
        self.device, self.dtype = device, dtype
        self.prompts, self.tables = prompts, tables
        self._modules = dict(modules)
        for module in self._modules.values():
            module.requires_grad_(False).eval()

    @staticmethod
    def program_spec(config: Any) -> ProgramSpec:
        """Return the segments of a checkpoint's staged model and the tensors between them."""
        raise NotImplementedError

    @staticmethod
    def make_prompts(config: Any, eagle: Any, device: torch.device, dtype: torch.dtype) -> Prompts:
        """Return the cache of prompts, which takes the embeddings of the VLM."""
        raise NotImplementedError

    @staticmethod
    def makers(model: Any, row: int) -> dict[str, Callable[[], nn.Module]]:
        """Return segment -> function that builds it from the weights of a reference model."""
        raise NotImplementedError

    @classmethod
    def convert(
        cls, model: Gr00tNetwork, *, embodiment: int = 0, step_counts: Collection[int] = ()
    ) -> "Self":
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
        prompts = cls.make_prompts(model.config, model.backbone.eagle, device, dtype)
        if device.type != "meta":
            prompts.to_host()
        modules = cls._segments(model, embodiment, SEGMENTS)
        return cls(model.config, device, dtype, prompts, tables, modules)

    @classmethod
    def load(
        cls,
        directory: Path,
        config: Any,
        *,
        embodiment: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        segments: Collection[str] = SEGMENTS,
        step_counts: Collection[int] = (),
        progress: Callable[[float], None] | None = None,
    ) -> "Self":
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
            CheckpointError: see `WeightFiles.load`.

        """
        read = partial(cls.weights.load, directory, config, embodiment=embodiment, dtype=dtype)
        device = torch.device(device)

        def time_embeddings() -> TimeEmbeddings:
            return TimeEmbeddings(read(only=_matching(_TIME)).action_head, 0)

        tables = TimeTableCache(time_embeddings, device, dtype)
        tables.compute(step_counts)
        release_heap()
        kept: Eagle = read(only=_matching(cls.host_weights)).backbone.eagle
        prompts = cls.make_prompts(config, kept, device, dtype)
        patterns = [p for name, p in cls.segment_weights.items() if name in segments]
        model = read(only=_matching(*patterns), device=device, progress=progress)
        return cls(config, device, dtype, prompts, tables, cls._segments(model, 0, segments))

    @classmethod
    @torch.no_grad()
    def _segments(
        cls, model: Gr00tNetwork, row: int, names: Collection[str]
    ) -> dict[str, nn.Module]:
        makers = cls.makers(model, row)
        return {name: makers[name]() for name in SEGMENTS if name in names}

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """Return the loaded segments by name."""
        return self._modules

    @property
    def nbytes(self) -> int:
        """Return the memory on the device in bytes: weights, tables, and on a CPU embeddings."""
        host = self.tables.nbytes + (self.prompts.nbytes if self.device.type == "cpu" else 0)
        return sum(map(held_bytes, self._modules.values())) + host

    def pack(self) -> "Self":
        """Reorder the weights for the CPU's kernels if possible, and return this model."""
        if can_pack(self.device):
            for module in self._modules.values():
                pack(module)
        return self

    def bind(self, inputs: ModelInputs, steps: int) -> Binding:
        """See `core.program.Program.bind`; the inputs come from the family's processor.

        Raises:
            ValueError: the images do not give as many tokens as there are image token ids, or
                `steps` is less than 1.

        """
        raise NotImplementedError

    def arguments(self, segment: str, index: int, tensors: Tensors) -> Sequence[Tensor]:
        """See `core.program.Program.arguments`."""
        return getattr(self, f"_{segment}_arguments")(index, tensors)

    def _patches(self, pixels: Tensor) -> Tensor:
        """Return the normalised patches of uint8 images [V, 3, h, w], cell by cell."""
        eagle = self.config.eagle
        patches = to_cell_patches(pixels, eagle.vision.patch_size, eagle.shuffle)
        return normalise_pixels(patches).to(self.dtype)


def _matching(*patterns: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda name: any(pattern.fullmatch(name) for pattern in patterns)


def unpadded(inputs: ModelInputs) -> NDArray[np.int64]:
    """Return the token ids [S] of the only sample, without padding."""
    return inputs["input_ids"][0][inputs["attention_mask"][0] == 1]


def constants_of(prompt: Prompt, tables: TimeTables) -> dict[str, Tensor]:
    """Return the constants of a prompt and of a number of steps by their names in a program."""
    return {
        "text_embeddings": prompt.embeddings,
        "image_index": prompt.image_index,
        "cos": prompt.cos,
        "sin": prompt.sin,
        **{f"table.{name}": tensor for name, tensor in vars(tables).items()},
    }


def language_segment(text: TextConfig, features: TensorSpec, constants: Sequence[str]) -> Segment:
    """Return the segment of `layers.staged.Language`; `constants` are those of its arguments."""
    return Segment(
        "language",
        "backbone",
        inputs=(
            TensorSpec("embeddings", (1, "tokens", text.hidden_size)),
            TensorSpec("cos", ("tokens", text.head_dim)),
            TensorSpec("sin", ("tokens", text.head_dim)),
        ),
        outputs=(features,),
        constants=tuple(constants),
    )
