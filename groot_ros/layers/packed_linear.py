"""Linear layers whose weights are stored in the order in which the CPU's kernels read them."""

import ctypes
import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

#: Rows that the order is chosen for; with others it is as fast (measured with 17 to 648).
_ROWS = 128


def can_pack(device: torch.device) -> bool:
    """Tell whether weights on this device can be packed: on a CPU, with oneDNN."""
    return (
        device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )


class PackedLinear(nn.Module):
    """x W' + b; the weights are opaque and exist in this order only.

    On two cores of an EPYC 17 rows through [6144, 1536] take 2.0 ms, unpacked 4.5 ms.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach()
        self.size, self.nbytes = weight.numel(), weight.nbytes
        # Not a buffer: opaque tensors can be neither moved nor saved.
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        return torch.ops.mkldnn._linear_pointwise(x, self._weight, self.bias, "none", [], "")


def pack(module: nn.Module) -> None:
    """Replace every linear layer in `module`; the unpacked weights are freed."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            setattr(module, name, PackedLinear(child))
            release_heap()
        else:
            pack(child)


def held_bytes(module: nn.Module) -> int:
    """Return the memory of all parameters, buffers and packed weights."""
    unpacked = sum(t.nbytes for t in (*module.parameters(), *module.buffers()))
    return unpacked + sum(m.nbytes for m in module.modules() if isinstance(m, PackedLinear))


def linear_sizes(module: nn.Module) -> Iterator[int]:
    """Yield the number of weights of every linear layer, packed or not."""
    for part in module.modules():
        if isinstance(part, PackedLinear):
            yield part.size
        elif isinstance(part, nn.Linear):
            yield part.weight.numel()


@functools.cache
def _trim() -> Callable[[int], int] | None:
    """Return glibc's malloc_trim, None with another C library."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def release_heap() -> None:
    """Return free pages of the heap to the operating system.

    glibc keeps freed blocks of up to 32 MB, which is the size of a layer's weights: a model of 5 GB
    whose layers are replaced one by one would hold 0.8 GB more than it needs.
    """
    trim = _trim()
    if trim is not None:
        trim(0)
