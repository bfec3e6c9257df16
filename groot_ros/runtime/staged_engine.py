"""An engine around four stages: the host's part of an inference, whoever executes the rest."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groot_ros.models.gr00t_n1d6 import Conditioning
from groot_ros.processing import ModelInputs
from groot_ros.runtime.engine import EngineResult, PrefixInput
from groot_ros.runtime.gr00t_n1d6 import Host, Layout, Runner, StageRunner, to_cell_patches
from groot_ros.runtime.placement import in_words
from groot_ros.runtime.static_tensors import HostCopy
from groot_ros.runtime.stopwatch import Stopwatch
from groot_ros.runtime.tensors import normalise_pixels, to_conditioning, upload


class StagedEngine:
    """Runs a batch one observation at a time, each at its exact length, as if it were alone.

    That is what the plain model computes, with one exception: the plain DiT of a checkpoint
    without `use_alternate_vl_dit` also attends to the padding of a batch.
    """

    def __init__(self, name: str, host: Host, runner: Runner) -> None:
        self.name = name
        self.device = in_words(host.device)
        self._host = host
        self._runner: Runner | None = runner
        self._result = HostCopy()
        self._stream: torch.cuda.Stream | None = None

    def launched_singly(self) -> "StagedEngine":
        """The same weights, stage after stage without a graph around them: for looking inside."""
        runner = self._open()
        return StagedEngine(self.name, self._host, getattr(runner, "inner", runner))

    @property
    def stage_runner(self) -> StageRunner:
        """Whose stages may be exchanged; ValueError where they cannot be."""
        runner = self._open()
        if not isinstance(runner, StageRunner):
            raise ValueError(f"engine '{self.name}' does not run stage by stage")
        return runner

    @property
    def memory_bytes(self) -> int:
        """Memory held on the device."""
        return 0 if self._runner is None else self._runner.memory_bytes

    def prepare(self, inputs: ModelInputs, steps: int | None = None) -> None:
        """One run, so that the first real one finds everything allocated."""
        config = self._host.config
        shape = (len(inputs.input_ids), config.action_horizon, config.max_action_dim)
        steps = config.num_inference_timesteps if steps is None else steps
        self.run(inputs, np.zeros(shape, dtype=np.float32), steps)

    @torch.inference_mode()
    def run(
        self,
        inputs: ModelInputs,
        noise: NDArray[np.float32],
        steps: int,
        prefix: PrefixInput | None = None,
    ) -> EngineResult:
        """See `Engine.run`; raises RuntimeError after `close`."""
        with self._own_stream():
            return self._run(inputs, noise, steps, prefix)

    def _run(
        self,
        inputs: ModelInputs,
        noise: NDArray[np.float32],
        steps: int,
        prefix: PrefixInput | None,
    ) -> EngineResult:
        host, runner = self._host, self._open()
        # Nothing below waits for the device before `fetch` does.
        watch = Stopwatch(host.device)
        watch.mark()
        samples = [self._sample(inputs, row) for row in range(len(inputs.input_ids))]
        features = [runner.backbone(layout, patches) for layout, patches in samples]
        watch.mark()
        tables = host.tables.of(steps)
        state = upload(inputs.state, host.device, host.dtype)
        noises = upload(noise, host.device)
        given = (
            Conditioning.none(len(noise), noise.shape[1], noise.shape[2], host.device)
            if prefix is None
            else to_conditioning(prefix, host.device)
        )
        chunks = [
            runner.head(layout, tables, seen, state[row, None], noises[row, None], _row(given, row))
            for row, ((layout, _), seen) in enumerate(zip(samples, features, strict=True))
        ]
        actions = self._result.fetch(torch.cat(chunks)).numpy().copy()
        watch.mark()
        return EngineResult(actions, *watch.seconds())

    def close(self) -> None:
        """Drop the weights."""
        if self._runner is not None:
            self._runner.close()
        self._runner = None
        if self._host.device.type == "cuda":
            torch.cuda.empty_cache()

    def _own_stream(self) -> AbstractContextManager[object]:
        """On a GPU a stream that is not the default one, which TensorRT would synchronise on."""
        if self._host.device.type != "cuda":
            return nullcontext()
        if self._stream is None:
            self._stream = torch.cuda.Stream(self._host.device)
        # What was loaded is on the default one.
        self._stream.wait_stream(torch.cuda.default_stream(self._host.device))
        return torch.cuda.stream(self._stream)

    def _open(self) -> Runner:
        if self._runner is None:
            raise RuntimeError("the engine is closed")
        return self._runner

    def _sample(self, inputs: ModelInputs, row: int) -> tuple[Layout, list[Tensor]]:
        """Layout and patches of one observation of a batch."""
        each = len(inputs.images) // len(inputs.input_ids)
        images = inputs.images[row * each : (row + 1) * each]
        ids = inputs.input_ids[row][inputs.attention_mask[row] == 1]
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        layout = self._host.layouts.of(ids, sizes)
        return layout, [
            self._patches([images[view] for view in batch.views]) for batch in layout.batches
        ]

    def _patches(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        eagle = self._host.config.eagle
        pixels = upload(np.stack(images), self._host.device)
        patches = to_cell_patches(pixels, eagle.vision.patch_size, eagle.shuffle)
        return normalise_pixels(patches).to(self._host.dtype)


def _row(given: Conditioning, row: int) -> Conditioning:
    one = slice(row, row + 1)
    return Conditioning(
        given.prefix[one],
        given.start[one],
        given.weight[one],
        given.strength[one],
        given.clean[one],
    )
