# SPDX-License-Identifier: Apache-2.0
"""Constants that depend only on the denoising time, computed once per number of steps."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from groot_ros.layers.action_head import FlowHead
from groot_ros.layers.category_specific import time_code
from groot_ros.layers.dit import Block, time_projection
from groot_ros.layers.flow_matching import bucket, step_times

#: Number of tables that are kept in memory.
_KEPT = 4


@dataclass(frozen=True)
class TimeTables:
    """Tables with one row per denoising step, on the device of the stages.

    Attributes:
        token_bias: [steps, 1, 1, C], contribution of the time and the biases inside the action
            encoder.
        clean_bias: [1, 1, C], the same for a token that is marked as fully denoised (time 1).
        modulations: [steps, layers, 2, C] of (1 + scale, shift).
        output_modulation: [steps, 2, C] of (1 + scale, shift).
        times: float32 [steps, 1], from 0 (noise) to 1 (data).
        dt, gain: float32 [1], 1 / steps and steps.

    """

    token_bias: Tensor
    clean_bias: Tensor
    modulations: Tensor
    output_modulation: Tensor
    times: Tensor
    dt: Tensor
    gain: Tensor

    @property
    def steps(self) -> int:
        """Return the number of Euler steps."""
        return len(self.times)

    @property
    def nbytes(self) -> int:
        """Return the memory of all tables in bytes."""
        return sum(cast(Tensor, t).nbytes for t in vars(self).values())


class TimeEmbeddings:
    """Weights of an action head that act only on the time; 158 M parameters at full size."""

    def __init__(self, head: FlowHead, embodiment: int) -> None:
        self._buckets = head.config.num_timestep_buckets
        self._encoder = head.model.timestep_encoder.timestep_embedder
        blocks = head.model.transformer_blocks
        self._modulations = [cast(Block, block).norm1.linear for block in blocks]
        self._output = head.model.proj_out_1
        encoder = head.action_encoder
        self._width = encoder.width
        self._first_bias = encoder.W1.b[embodiment]
        self._second, self._second_bias = encoder.W2.W[embodiment], encoder.W2.b[embodiment]

    @torch.no_grad()
    def tables(self, steps: int, device: torch.device, dtype: torch.dtype) -> TimeTables:
        """Compute the tables and store them in `dtype` on `device`.

        Raises:
            ValueError: `steps` is less than 1.

        """
        times = step_times(steps)
        buckets = torch.tensor([bucket(time, self._buckets) for time in times])
        embedding = time_projection(buckets.to(self._output.weight.device))
        for layer in (self._encoder.linear_1, self._encoder.linear_2):
            embedding = F.silu(_wide(layer, embedding))
        modulations = [_halves(_wide(layer, embedding)) for layer in self._modulations]
        # The order is (shift, scale), the reverse of that in the blocks.
        output = _halves(_wide(self._output, embedding)).flip(1)
        for halves in (*modulations, output):
            halves[:, 0] += 1.0
        bias = self._token_bias(torch.cat([buckets, torch.tensor([self._buckets])]))

        def place(tensor: Tensor) -> Tensor:
            return tensor.to(device=device, dtype=dtype).contiguous()

        def scalars(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

        return TimeTables(
            token_bias=place(bias[:-1, None, None]),
            clean_bias=place(bias[-1:, None]),
            modulations=place(torch.stack(modulations, dim=1)),
            output_modulation=place(output),
            times=scalars(times)[:, None],
            dt=scalars([1.0 / steps]),
            gain=scalars([float(steps)]),
        )

    def _token_bias(self, buckets: Tensor) -> Tensor:
        """Return the second layer's output for (first layer's bias, time code), [n, C]."""
        weight, width = self._second.double(), self._width
        code = time_code(buckets.to(weight.device), width).double()
        constant = self._first_bias.double() @ weight[:width] + self._second_bias.double()
        return (code @ weight[width:] + constant).float()


class TimeTableCache:
    """Cache of tables by number of steps; the weights are loaded only for a new number."""

    def __init__(
        self, make: Callable[[], TimeEmbeddings], device: torch.device, dtype: torch.dtype
    ) -> None:
        self._make, self._device, self._dtype = make, device, dtype
        self._tables: OrderedDict[int, TimeTables] = OrderedDict()
        self._lock = Lock()

    def compute(self, counts: Iterable[int]) -> None:
        """Compute missing tables for these numbers of steps; loads the weights at most once."""
        missing = [steps for steps in counts if steps not in self._tables]
        if missing:
            embeddings = self._make()
            for steps in missing:
                self._tables[steps] = embeddings.tables(steps, self._device, self._dtype)
            while len(self._tables) > _KEPT:
                self._tables.popitem(last=False)

    def of(self, steps: int) -> TimeTables:
        """Return the tables for this number of steps; thread-safe."""
        with self._lock:
            self.compute([steps])
            self._tables.move_to_end(steps)
            return self._tables[steps]

    @property
    def nbytes(self) -> int:
        """Return the memory of all cached tables in bytes."""
        return sum(tables.nbytes for tables in self._tables.values())


def _wide(layer: nn.Linear, x: Tensor) -> Tensor:
    return F.linear(x, layer.weight.float(), None if layer.bias is None else layer.bias.float())


def _halves(x: Tensor) -> Tensor:
    """Reshape [n, 2 C] to [n, 2, C]."""
    return x.unflatten(-1, (2, -1)).clone()
