"""The parts of a checkpoint and their sizes, from the headers of its files alone."""

from collections.abc import Iterable
from dataclasses import dataclass

from groot_ros.models.safetensors_file import TensorEntry

#: Part -> how its tensors' names begin; the first that fits counts.
_PREFIXES = {
    "never used": (
        "backbone.model.language_model.lm_head.",
        "backbone.model.vision_model.vision_model.head.",
    ),
    "vision tower": ("backbone.model.vision_model.",),
    "connector": ("backbone.model.mlp1.",),
    "token embeddings": ("backbone.model.language_model.model.embed_tokens.",),
    "language tower": ("backbone.model.language_model.",),
    "diffusion transformer": ("action_head.model.",),
    "per embodiment": tuple(
        f"action_head.{name}." for name in ("state_encoder", "action_encoder", "action_decoder")
    ),
    "rest of the head": ("action_head.",),
    "other": ("",),
}


@dataclass(frozen=True)
class Part:
    """How large one part is; `dtypes` as torch calls them."""

    name: str
    parameters: int
    nbytes: int
    dtypes: tuple[str, ...]


def parts_of(entries: Iterable[TensorEntry]) -> list[Part]:
    """Every part that has tensors."""
    tensors: dict[str, list[TensorEntry]] = {name: [] for name in _PREFIXES}
    for entry in entries:
        tensors[next(n for n, p in _PREFIXES.items() if entry.name.startswith(p))].append(entry)
    return [
        Part(
            name,
            sum(entry.nbytes // entry.dtype.itemsize for entry in own),
            sum(entry.nbytes for entry in own),
            tuple(sorted({str(entry.dtype).removeprefix("torch.") for entry in own})),
        )
        for name, own in tensors.items()
        if own
    ]
