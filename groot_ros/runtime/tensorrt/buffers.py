"""Device memory that engines read and write, one piece per tensor name, allocated once."""

from math import prod

import torch
from torch import Tensor

from groot_ros.runtime.tensorrt.profile import Shape


class Buffers:
    """Shared by the engines of all stages: what one writes, the next reads where it lies."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._storage: dict[str, Tensor] = {}

    def reserve(self, name: str, largest: Shape, dtype: torch.dtype) -> None:
        """Room for a tensor; of two engines that name it, the larger wins.

        Raises:
            ValueError: another engine has it in another element type.

        """
        found = self._storage.get(name)
        if found is not None and found.dtype != dtype:
            raise ValueError(f"one engine has '{name}' as {found.dtype}, another as {dtype}")
        if found is None or found.numel() < prod(largest):
            self._storage[name] = torch.empty(prod(largest), dtype=dtype, device=self.device)

    def tensor(self, name: str, shape: Shape) -> Tensor:
        """The beginning of a piece, seen in a shape; the address is the same for every shape."""
        return self._storage[name][: prod(shape)].view(shape)

    def address(self, name: str) -> int:
        """Of the first element."""
        return self._storage[name].data_ptr()

    @property
    def nbytes(self) -> int:
        """Of all pieces."""
        return sum(t.nbytes for t in self._storage.values())
