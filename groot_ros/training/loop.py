# SPDX-License-Identifier: Apache-2.0
"""The steps of a training run, with validation and checkpoints."""

import contextlib
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from groot_ros.families.training import HeldOutError
from groot_ros.training.curves import Metrics, draw_curves
from groot_ros.training.feature_cache import FeatureCache
from groot_ros.training.memory import activation_bytes
from groot_ros.training.network import Network, rate_share
from groot_ros.training.run_data import RecordedData, RunData
from groot_ros.training.settings import TrainSettings
from groot_ros.training.setup import Prepared
from groot_ros.training.state import (
    Average,
    complete_directory,
    load_state,
    read_progress,
    replaced_directory,
    save_state,
)


@dataclass(frozen=True)
class Result:
    """Result of a run or of one leg of it.

    Attributes:
        step: steps that are done.
        finished: True if these are all steps.
        error: last error on held-out episodes; None without them.
        best: smallest error so far, NaN if none.
        first_process: False in all processes but one.

    """

    step: int
    finished: bool
    error: HeldOutError | None
    best: float
    first_process: bool = True


class _SampleReader:
    """Data set of torch's loader: encodes sample `number` of the run."""

    def __init__(self, data: RunData, settings: TrainSettings) -> None:
        self._data, self._augmentation, self._seed = data, settings.augmentation, settings.seed

    def __getitem__(self, number: int) -> tuple[int, Any]:
        rng = np.random.default_rng([self._seed, 3, number])
        random = None if self._augmentation.off else rng
        index = self._data.order.index(number)
        return number, self._data.sample(index, random, self._augmentation)


class TrainingRun:
    """One run, or one leg of it."""

    def __init__(
        self, settings: TrainSettings, accelerator: Accelerator, prepared: Prepared, out: Path
    ) -> None:
        self.settings, self.accelerator, self.out = settings, accelerator, out
        self.first = accelerator.is_main_process
        self.begin = time.monotonic()
        frozen = torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32
        self.trainer = prepared.family.trainer(
            prepared.base, embodiment=settings.embodiment, device=accelerator.device, dtype=frozen
        )
        with accelerator.main_process_first():
            self.data = prepared.open_data(self.trainer)
        self.network = Network(
            self.trainer, settings, self.data.readout(), prepared.family.lora_targets
        )
        self.network.module.to(accelerator.device)
        self.optimiser = self.network.optimiser(settings)
        self.average = Average(self.network.parameters, settings.ema) if settings.ema else None
        self.step, self.best = 0, float("nan")
        self._data_digest = self.data.order.fingerprint()
        if settings.resume:
            progress = read_progress(out / "state")
            if progress["samples"] != len(self.data.order):
                raise ValueError(
                    f"{out} cannot be resumed: the data have {len(self.data.order)} samples, the "
                    f"run began with {progress['samples']}"
                )
            # A state of an earlier version does not have it.
            if progress["data"] not in ("", self._data_digest):
                raise ValueError(
                    f"{out} cannot be resumed: the states, actions or instructions of the data are "
                    "not those with which the run began"
                )
            load_state(out / "state", self.network.parameters, self.optimiser, self.average)
            self.step, self.best = progress["step"], progress["best"]
        self.cache = self._feature_cache() if settings.cache_features else None
        self.module, prepared_optimiser = accelerator.prepare(self.network.module, self.optimiser)
        self.stepper = prepared_optimiser
        self.metrics = Metrics(out, self.step) if self.first else None
        self.error: HeldOutError | None = None
        self._stop = False

    def _feature_cache(self) -> FeatureCache:
        folder, data = self.out / "features", self.data
        assert isinstance(data, RecordedData), "the settings are refused for other data"
        with self.accelerator.main_process_first():
            if self.first:
                with self.network.evaluating():
                    FeatureCache.write(folder, data.trainer, data.order)
        return FeatureCache(folder)

    def close(self) -> None:
        """Finish the files of the metrics."""
        if self.metrics is not None:
            self.metrics.close()
            if self.metrics.entries:
                self._draw_curves(self.metrics)

    def _draw_curves(self, metrics: Metrics) -> None:
        # A leg that has not validated yet does not know the unit.
        unit = f" [{self.error.unit}]" if self.error else ""
        draw_curves(metrics.entries, self.out / "curves.png", unit)

    def run(self) -> Result:
        """Run the steps."""
        settings = self.settings
        with self._bar() as bar:
            for micro_batches in self._batches():
                losses = self._one_step(micro_batches)
                self.step += 1
                bar.update(1)
                last = self.step == settings.steps
                evaluated = self.step % settings.evaluate_every == 0 or last
                stop = self._must_stop()
                saved = self.step % settings.save_every == 0 or last or stop
                if evaluated or saved:
                    self._require_finite_weights()
                if self.step % settings.log_every == 0 or last:
                    self._log(losses, bar)
                if evaluated:
                    self._evaluate()
                if saved:
                    self._save()
                if stop:
                    break
        self.accelerator.wait_for_everyone()
        return Result(self.step, self.step == settings.steps, self.error, self.best, self.first)

    def _batches(self) -> Iterator[list[tuple[list[int], list[Any]]]]:
        """Yield the micro-batches of each step: numbers of the samples, and the samples."""
        settings, accelerator = self.settings, self.accelerator
        share = settings.batch_size // accelerator.num_processes
        size = settings.micro_batch or share
        numbers = []
        for step in range(self.step, settings.steps):
            begin = step * settings.batch_size + accelerator.process_index * share
            own = list(range(begin, begin + share))
            numbers += [own[i : i + size] for i in range(0, share, size)]
        reader = _SampleReader(self.data, settings)
        loader: DataLoader[Any] = DataLoader(
            reader,  # type: ignore[arg-type]
            batch_sampler=numbers,
            num_workers=settings.workers,
            collate_fn=_as_lists,
            worker_init_fn=_ignore_signals,
        )
        per_step = -(-share // size)
        collected = []
        for part in loader:
            collected.append(part)
            if len(collected) == per_step:
                yield collected
                collected = []

    def _one_step(self, micro_batches: Sequence[tuple[list[int], list[Any]]]) -> dict[str, Tensor]:
        """Update the weights, and return the mean losses of all processes."""
        settings, accelerator = self.settings, self.accelerator
        inputs = [self._inputs(*part) for part in micro_batches]
        counts = [self.trainer.counted_values(batch, draws) for batch, draws, _ in inputs]
        total = torch.tensor(float(sum(counts)), device=accelerator.device)
        # Nothing counts where all steps of all chunks are given or after the end of an episode.
        total = accelerator.reduce(total, "sum").clamp(min=1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = settings.learning_rate * rate_share(
                self.step, settings.steps, settings.warmup
            )
        sums: dict[str, Tensor] = {}
        for number, (given, count) in enumerate(zip(inputs, counts, strict=True)):
            if number == 0 and self.step == 0 and self.first:
                self._say_activations(given, len(micro_batches[0][0]))
            torch.manual_seed(_derived(settings.seed, self.step, number, accelerator))
            last = number == len(inputs) - 1
            synchronised = contextlib.nullcontext() if last else accelerator.no_sync(self.module)
            with synchronised:
                with accelerator.autocast():
                    losses = self.module(*given)
                # Data parallelism takes the mean over the processes, but the loss is a mean over
                # action values, of which micro-batches at the ends of episodes have fewer.
                weight = count * accelerator.num_processes / total
                accelerator.backward(losses["loss"] * weight)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0) + value.detach().float() * count / total
        if settings.clip:
            accelerator.clip_grad_norm_(list(self.network.parameters.values()), settings.clip)
        self.stepper.step()
        self.stepper.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.step)
        return sums

    def _inputs(
        self, numbers: Sequence[int], samples: Sequence[Any]
    ) -> tuple[Any, dict[str, Tensor], dict[str, Tensor] | None]:
        batch = self.trainer.collate(samples)
        settings = self.settings
        rngs = [np.random.default_rng([settings.seed, 4, number]) for number in numbers]
        draws = self.trainer.draw(batch, rngs, settings.max_delay, settings.timestep_sampling)
        encoded = None
        if self.cache is not None:
            indices = [self.data.order.index(number) for number in numbers]
            encoded = self.cache.encoded(indices, self.accelerator.device)
        return batch, draws, encoded

    def _say_activations(self, given: Any, samples: int) -> None:
        with self.accelerator.autocast():
            size = activation_bytes(lambda: self.network.module(*given)["loss"])
        print(f"  {'activations':18} {size / 1e9:8.2f} GB for {samples} samples")

    def _require_finite_weights(self) -> None:
        """Raise FloatingPointError rather than replace what was saved by weights of no use."""
        if all(bool(torch.isfinite(p).all()) for p in self.network.parameters.values()):
            return
        saved = complete_directory(self.out / "last")
        kept = "nothing is saved yet" if saved is None else f"{saved} is of an earlier step"
        raise FloatingPointError(
            f"step {self.step}: the weights are not finite, so the training has diverged; {kept}. "
            "Start again with a smaller learning_rate, or with clip"
        )

    def _log(self, losses: Mapping[str, Tensor], bar: "tqdm[Any]") -> None:
        mean = {n: float(self.accelerator.reduce(v, "sum")) for n, v in losses.items()}
        if self.metrics is None:
            return
        named = {f"loss/{'train' if n == 'loss' else n}": v for n, v in mean.items()}
        rate = self.optimiser.param_groups[0]["lr"]
        self.metrics.record(self.step, {**named, "learning_rate": rate})
        bar.set_postfix_str(f"loss {mean['loss']:.4f}", refresh=False)
        if bar.disable:
            seconds = time.monotonic() - self.begin
            print(f"step {self.step}: loss {mean['loss']:.4f}, {seconds:.0f} s", flush=True)

    def _evaluate(self) -> None:
        """Compute the error on held-out episodes with the averaged weights; keep the best ones."""
        if not self.first or self.metrics is None:
            return
        with self._averaged(), self.network.evaluating(), self.accelerator.autocast():
            error = self.data.held_out_error()
        if error is None:
            return
        self.error = error
        self.metrics.record(self.step, error.metrics())
        tqdm.write(f"step {self.step}: {error}", file=sys.stdout)
        if np.isnan(self.best) or error.minimised < self.best:
            self.best = error.minimised
            self._save_checkpoint("best")

    def _save(self) -> None:
        """Write the last checkpoint and the state; all processes have the same."""
        if not self.first or self.metrics is None:
            return
        self._save_checkpoint("last")
        best = None if np.isnan(self.best) else self.best
        progress = {
            "step": self.step,
            "best": best,
            "samples": len(self.data.order),
            "data": self._data_digest,
        }
        save_state(
            self.out / "state", self.network.parameters, self.optimiser, self.average, progress
        )
        if self.metrics.entries:
            self._draw_curves(self.metrics)

    def _save_checkpoint(self, name: str) -> None:
        values: Mapping[str, Tensor] = self.network.parameters
        if self.average is not None:
            values = self.average.values
        with replaced_directory(self.out / name) as path:
            self.network.save(path, values, self.out / "adapter" / name)

    def _averaged(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.average is None else self.average.applied()

    def _must_stop(self) -> bool:
        limit = self.settings.leg_minutes * 60.0
        stop = self._stop or (0 < limit <= time.monotonic() - self.begin)
        if self.accelerator.num_processes == 1:
            return stop
        flag = torch.tensor(float(stop), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, "sum") > 0)

    def request_stop(self) -> None:
        """Save and stop after the present step."""
        self._stop = True

    @contextlib.contextmanager
    def _bar(self) -> "Iterator[tqdm[Any]]":
        # disable=None: no bar where the output is not a terminal.
        hidden = None if self.first else True
        with tqdm(
            total=self.settings.steps, initial=self.step, desc="training", disable=hidden
        ) as bar:
            yield bar


def _ignore_signals(_: int) -> None:
    """Leave Ctrl-C, and SIGTERM to the process group, to the training process.

    It still needs samples for the step after which it saves, and then ends its workers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _as_lists(pairs: Sequence[tuple[int, Any]]) -> tuple[list[int], list[Any]]:
    return [number for number, _ in pairs], [sample for _, sample in pairs]


def _derived(seed: int, step: int, micro: int, accelerator: Accelerator) -> int:
    """Return torch's seed of a micro-batch, for dropout."""
    sequence = np.random.SeedSequence([seed, 5, step, micro, accelerator.process_index])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)
