# SPDX-License-Identifier: Apache-2.0
"""Checkpoint of the GR00T families; torch is imported only where it is needed."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ros.core.config_reader import CheckpointError
from groot_ros.core.program import ModelInputs, ProgramSpec, Progress, Range
from groot_ros.processing.tokenizer import TextTokenizer

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from groot_ros.families.gr00t.network import Gr00tNetwork
    from groot_ros.families.gr00t.staged_model import StagedModel
    from groot_ros.layers.eagle import EagleSizes

#: Tokens of a typical instruction; engines are optimised for this size.
_USUAL_TOKENS = 16


@dataclass(frozen=True)
class Gr00tCheckpoint:
    """See `families.family.Checkpoint`; each family has a subclass.

    Attributes:
        path: directory.
        config: configuration of the network.
        processor: processor of the embodiment.

    """

    path: Path
    config: Any
    processor: Any

    @property
    def quantised(self) -> tuple[str, ...]:
        """Return "denoise", as its speed is limited by reading its weights."""
        return ("denoise",)

    @staticmethod
    def staged_model() -> "type[StagedModel]":
        """Return the class of the staged model; it is imported here, as it needs torch."""
        raise NotImplementedError

    @cached_property
    def program(self) -> ProgramSpec:
        """Return the segments of the staged model."""
        return self.staged_model().program_spec(self.config)

    def load_program(
        self,
        *,
        device: "torch.device",
        dtype: "torch.dtype",
        segments: Collection[str] | None = None,
        step_counts: Collection[int] = (),
        progress: Progress | None = None,
    ) -> "StagedModel":
        """See `families.family.Checkpoint.load_program`."""
        chosen = {} if segments is None else {"segments": segments}
        return self.staged_model().load(
            self.path,
            self.config,
            embodiment=self.processor.embodiment_id,
            device=device,
            dtype=dtype,
            step_counts=step_counts,
            progress=progress,
            **chosen,
        )

    def load_reference(
        self, *, device: "torch.device", dtype: "torch.dtype", progress: Progress | None = None
    ) -> "ReferenceModel":
        """See `families.family.Checkpoint.load_reference`."""
        model = self.staged_model().weights.load(
            self.path,
            self.config,
            embodiment=self.processor.embodiment_id,
            device=device,
            dtype=dtype,
            progress=progress,
        )
        return ReferenceModel(model)

    def sizes_by_view(self, sizes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return one image size per view; raise ValueError unless one or all are given."""
        views = self.processor.views
        if len(sizes) not in (1, len(views)):
            raise ValueError(
                f"image sizes: give one, or one for each of {', '.join(views)}, not {len(sizes)}"
            )
        return list(sizes) * (len(views) if len(sizes) == 1 else 1)


def text_range(bare: int, instruction_tokens: int) -> Range:
    """Return the number of text tokens of prompts.

    Args:
        bare: number of tokens without an instruction.
        instruction_tokens: number of tokens of the longest instruction.

    """
    usual = bare + min(_USUAL_TOKENS, instruction_tokens)
    return Range(bare, usual, bare + instruction_tokens)


class ReferenceModel:
    """Reference model for one embodiment (row 0 of the weights)."""

    def __init__(self, model: "Gr00tNetwork") -> None:
        self.model = model.eval()

    @property
    def device(self) -> "torch.device":
        """Return the device of the weights."""
        return self.model.device

    @property
    def nbytes(self) -> int:
        """Return the memory of the weights in bytes."""
        return sum(parameter.nbytes for parameter in self.model.parameters())

    def run(
        self, inputs: ModelInputs, steps: int, mark: Callable[[str], None]
    ) -> Mapping[str, "Tensor"]:
        """See `families.family.ReferenceModel.run`."""
        import torch

        from groot_ros.families.gr00t.network import reference_images
        from groot_ros.layers.flow_matching import CONDITIONING, Conditioning

        given = {name: torch.from_numpy(array).to(self.device) for name, array in inputs.items()}
        head = self.model.action_head
        images = [image.to(head.dtype) for image in reference_images(given)]
        backbone = self.model.backbone(given["input_ids"], given["attention_mask"], images)
        mark("backbone")
        embodiment = torch.zeros_like(given["embodiment_id"])
        context = head.context(backbone, given["state"], embodiment)
        prefix = Conditioning(*(given[n] for n in CONDITIONING)) if "prefix" in given else None
        actions = head.denoise(context, given["noise"], steps, prefix)
        mark("head")
        return {"next_actions": actions}


def require_same_tokens(tokenizer: TextTokenizer, eagle: "EagleSizes", path: Path) -> None:
    """Raise CheckpointError unless the tokenizer fits the VLM's config at `path`."""
    image = eagle.image_token_index
    if tokenizer.image_id != image:
        raise CheckpointError(
            f"{path}: 'image_token_index' is {image}, the tokenizer's is {tokenizer.image_id}"
        )
    if tokenizer.rows > eagle.text.vocab_size:
        raise CheckpointError(
            f"{path}: 'vocab_size' is {eagle.text.vocab_size}, the tokenizer has ids up to "
            f"{tokenizer.rows - 1}"
        )


def require_row(row: int, rows: int, tag: str, where: str) -> None:
    """Raise CheckpointError unless the weights have the row of a tag, which `where` gives."""
    if row >= rows:
        raise CheckpointError(
            f"{where}: '{tag}' is row {row}, but max_num_embodiments in config.json is {rows}"
        )
