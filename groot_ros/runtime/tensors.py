"""Model inputs from numpy to tensors on the device of the model."""

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from groot_ros.models.gr00t_n1d6 import Conditioning
from groot_ros.processing import ModelInputs
from groot_ros.runtime.engine import PrefixInput


def normalise_pixels(images: Tensor) -> Tensor:
    """Bytes to float32 in [-1, 1]: (x - 127.5) / 127.5."""
    return (images.float() - 127.5) / 127.5


def upload(array: NDArray[Any], device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """A copy on a device; on a GPU through pinned memory, so that the host waits for nothing."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True).to(dtype or tensor.dtype)


@dataclass(frozen=True)
class TensorInputs:
    """`ModelInputs` on a device; the images are normalised [1, 3, h, w] each."""

    input_ids: Tensor
    attention_mask: Tensor
    images: list[Tensor]
    state: Tensor
    embodiment: Tensor
    action: Tensor | None
    action_mask: Tensor | None

    @classmethod
    def of(cls, inputs: ModelInputs, device: torch.device | str = "cpu") -> "TensorInputs":
        """Copy a batch to a device."""

        def move(array: Any) -> Tensor:
            return torch.from_numpy(array).to(device)

        return cls(
            input_ids=move(inputs.input_ids),
            attention_mask=move(inputs.attention_mask),
            images=[normalise_pixels(move(image))[None] for image in inputs.images],
            state=move(inputs.state),
            embodiment=move(inputs.embodiment_id),
            action=None if inputs.action is None else move(inputs.action),
            action_mask=None if inputs.action_mask is None else move(inputs.action_mask),
        )

    def for_loss(self) -> dict[str, Any]:
        """Keyword arguments of `Gr00tN1d6.loss`; raises ValueError without actions."""
        if self.action is None or self.action_mask is None:
            raise ValueError("the batch has no actions: it cannot be trained on")
        return {
            "input_ids": self.input_ids,
            "attention_mask": self.attention_mask,
            "images": self.images,
            "state": self.state,
            "embodiment": self.embodiment,
            "action": self.action,
            "action_mask": self.action_mask,
        }


def to_conditioning(prefix: PrefixInput, device: torch.device) -> Conditioning:
    """Committed motion on a device."""
    arrays = (prefix.prefix, prefix.start, prefix.weight, prefix.strength, prefix.clean)
    return Conditioning(*(upload(array, device) for array in arrays))
