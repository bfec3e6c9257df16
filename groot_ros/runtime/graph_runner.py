"""Backbone and head as one recorded graph each, whatever executes the stages inside."""

from collections.abc import Sequence
from dataclasses import fields

from torch import Tensor

from groot_ros.models.gr00t_n1d6 import Conditioning
from groot_ros.runtime.gr00t_n1d6 import Layout, Runner, TimeTables
from groot_ros.runtime.graph_recorder import GraphRecorder
from groot_ros.runtime.layout_tensors import structure_of, tensors_of, with_tensors
from groot_ros.runtime.replay import Replays


class GraphRunner:
    """Another runner's work, recorded once per shape of the observation and replayed.

    The graph of the head holds the context and all denoising steps. Prefix, weights and time
    tables are its inputs, so every mode of real-time chunking replays the same one.
    """

    def __init__(
        self,
        inner: Runner,
        recorder: GraphRecorder,
        *,
        capacity: int = 4,
        several_sizes: bool = True,
    ) -> None:
        """Take a runner over.

        Args:
            inner: does the work; closed together with this one.
            recorder: where it runs.
            capacity: graphs of each kind that are kept. 1 for TensorRT, whose contexts belong to
                one shape at a time.
            several_sizes: whether an observation with views of several sizes can be recorded; not
                with TensorRT, whose context would change its shapes inside the graph.

        """
        self._inner: Runner | None = inner
        self._recorder, self._several_sizes = recorder, several_sizes
        self._backbone = Replays("backbone", recorder, capacity)
        self._head = Replays("head", recorder, capacity)

    @property
    def inner(self) -> Runner:
        """What is recorded; raises RuntimeError after `close`.

        The graphs go: run by itself it may take other shapes than they were recorded with.
        """
        self._backbone.release()
        self._head.release()
        return self._open()

    @property
    def reasons(self) -> dict[str, str]:
        """What runs without a graph ("backbone", "head") and why."""
        kinds = {"backbone": self._backbone, "head": self._head}
        return {name: kind.reason for name, kind in kinds.items() if kind.reason is not None}

    @property
    def memory_bytes(self) -> int:
        """Of the runner inside; a graph's own memory is torch's to count."""
        return 0 if self._inner is None else self._inner.memory_bytes

    def backbone(self, layout: Layout, patches: Sequence[Tensor]) -> Tensor:
        """See `run_backbone`; raises RuntimeError after `close`."""
        inner = self._open()
        if len(layout.batches) > 1 and not self._several_sizes:
            self._backbone.release()
            return self._recorder.run(lambda: inner.backbone(layout, patches))

        def work(constants: Sequence[Tensor], inputs: Sequence[Tensor]) -> Tensor:
            return inner.backbone(with_tensors(layout, constants), inputs)

        # The graph's own output is overwritten by the next observation of a batch.
        key = structure_of(layout)
        return self._backbone(work, tensors_of(layout), patches, key).clone()

    def head(
        self,
        layout: Layout,
        tables: TimeTables,
        features: Tensor,
        state: Tensor,
        noise: Tensor,
        conditioning: Conditioning,
    ) -> Tensor:
        """See `run_head`; raises RuntimeError after `close`."""
        inner = self._open()
        names = [field.name for field in fields(tables)]

        def work(constants: Sequence[Tensor], inputs: Sequence[Tensor]) -> Tensor:
            there = with_tensors(layout, constants[len(names) :])
            times = TimeTables(**dict(zip(names, constants, strict=False)))
            seen, now, start, *rest = inputs
            return inner.head(there, times, seen, now, start, Conditioning(*rest))

        given = [getattr(conditioning, field.name) for field in fields(conditioning)]
        constants = (*(getattr(tables, name) for name in names), *tensors_of(layout))
        inputs = (features, state, noise, *given)
        return self._head(work, constants, inputs, structure_of(layout)).clone()

    def close(self) -> None:
        """The graphs first, then what they work on."""
        self._backbone.release()
        self._head.release()
        if self._inner is not None:
            self._inner.close()
        self._inner = None

    def _open(self) -> Runner:
        if self._inner is None:
            raise RuntimeError("the runner is closed")
        return self._inner
