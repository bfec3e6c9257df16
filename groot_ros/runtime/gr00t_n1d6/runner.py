"""What runs backbone and head of one observation: the stages in a row, or something that can."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from groot_ros.models.gr00t_n1d6 import Conditioning
from groot_ros.runtime.gr00t_n1d6.build import StagedModel
from groot_ros.runtime.gr00t_n1d6.layout import Layout
from groot_ros.runtime.gr00t_n1d6.stages import Stages, run_backbone, run_head
from groot_ros.runtime.gr00t_n1d6.time_tables import TimeTables


class Runner(Protocol):
    """Holds the weights, in whatever form; see `run_backbone` and `run_head` for the tensors."""

    @property
    def memory_bytes(self) -> int:
        """Memory held on the device."""

    def backbone(self, layout: Layout, patches: Sequence[Tensor]) -> Tensor:
        """Features [1, S, D]."""

    def head(
        self,
        layout: Layout,
        tables: TimeTables,
        features: Tensor,
        state: Tensor,
        noise: Tensor,
        conditioning: Conditioning,
    ) -> Tensor:
        """Normalised actions, float32 [1, H, A]."""

    def close(self) -> None:
        """Give the memory back."""


class StageRunner:
    """Four stages, one after the other; subclasses say what holds them."""

    def __init__(self, stages: Stages) -> None:
        self.stages = stages

    def backbone(self, layout: Layout, patches: Sequence[Tensor]) -> Tensor:
        """See `run_backbone`."""
        return run_backbone(self.stages, layout, patches)

    def head(
        self,
        layout: Layout,
        tables: TimeTables,
        features: Tensor,
        state: Tensor,
        noise: Tensor,
        conditioning: Conditioning,
    ) -> Tensor:
        """See `run_head`."""
        return run_head(self.stages, layout, tables, features, state, noise, conditioning)


class TorchRunner(StageRunner):
    """The four stages as eager PyTorch modules."""

    def __init__(self, fast: StagedModel) -> None:
        super().__init__(fast.stages)
        self._fast: StagedModel | None = fast

    @property
    def memory_bytes(self) -> int:
        """Weights and tables."""
        return 0 if self._fast is None else self._fast.nbytes

    def close(self) -> None:
        """Drop the weights."""
        self._fast = None
        del self.stages
