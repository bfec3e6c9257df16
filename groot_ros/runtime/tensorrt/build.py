# SPDX-License-Identifier: Apache-2.0
"""Build a TensorRT engine file from an ONNX file, for this GPU and this TensorRT version."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import tensorrt as trt
import torch

from groot_ros.core.program import Segment
from groot_ros.runtime.device import dtype_of
from groot_ros.runtime.engine import TensorRtError
from groot_ros.runtime.tensorrt.api import Log, shapes_of, torch_dtype
from groot_ros.runtime.tensorrt.availability import Machine, require, this_machine

_LOG = logging.getLogger(__name__)

#: The builder holds the weights twice while it times kernels.
_MEMORY_FACTOR = 2.0
_GIB = 2**30

#: Called with the name of the outermost phase and the fraction of its steps that is done.
Report = Callable[[str, float], None]


@dataclass(frozen=True)
class BuildOptions:
    """Options of the TensorRT builder.

    Attributes:
        workspace_bytes: largest scratch memory of a kernel; None for all free memory.
        optimisation_level: 0 (quick) to 5 (thorough); TensorRT's default is 3.
        timing_cache: file of kernel timings, read and written; makes a second build faster.

    """

    workspace_bytes: int | None = None
    optimisation_level: int = 3
    timing_cache: Path | None = None


def build_plan(
    onnx: Path,
    plan: Path,
    segment: Segment,
    weights: torch.dtype,
    sizes: Mapping[str, Sequence[int]],
    *,
    device: torch.device | None = None,
    options: BuildOptions | None = None,
    progress: Report | None = None,
) -> Machine:
    """Build the engine file of one segment; return the machine for which it was built.

    The network is strongly typed: every tensor has the type given in the ONNX file, whatever the
    builder's flags. TF32, which would round float32 products, is off.

    Args:
        onnx: exported segment, with its external data in the same directory.
        plan: engine file to write.
        segment: names, dimensions and types that the file must have.
        weights: element type in which the segment was exported.
        sizes: smallest, usual and largest size of every free dimension of the segment.
        device: GPU to build on and for; the first if None.
        options: see `BuildOptions`.
        progress: called with the builder's phase and the fraction of it that is done.

    Raises:
        TensorRtError: TensorRT cannot run on this machine, or the build failed.
        ValueError: the ONNX file does not match the segment, or a dimension has no size.

    """
    require()
    device = torch.device("cuda:0") if device is None else device
    options = BuildOptions() if options is None else options
    with torch.cuda.device(device):
        _warn_if_memory_is_short(onnx, device)
        log = Log()
        _write(plan, _serialized(onnx, segment, weights, sizes, options, progress, log))
        return this_machine(trt.__version__, device)


def _serialized(
    onnx: Path,
    segment: Segment,
    weights: torch.dtype,
    sizes: Mapping[str, Sequence[int]],
    options: BuildOptions,
    progress: Report | None,
    log: Log,
) -> trt.IHostMemory:
    builder = _builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(onnx)):
        faults = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise TensorRtError(f"{onnx}: TensorRT cannot read it: {'; '.join(faults)}")
    _require_contract(network, onnx, segment, weights)

    config = builder.create_builder_config()
    config.builder_optimization_level = options.optimisation_level
    # On by default: float32 products with 10 bits of mantissa.
    config.clear_flag(trt.BuilderFlag.TF32)
    if options.workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    config.add_optimization_profile(_profile(builder, segment, sizes))
    monitor = None
    if progress is not None:
        monitor = Progress(progress)
        config.progress_monitor = monitor
    _read_timing_cache(config, options.timing_cache)

    built = builder.build_serialized_network(network, config)
    if monitor is not None and monitor.interrupted:
        raise KeyboardInterrupt
    if built is None:
        raise TensorRtError(_failure(onnx, log.last_error()))
    _write_timing_cache(config, options.timing_cache)
    return built


def _builder(log: Log) -> trt.Builder:
    try:
        return trt.Builder(log)
    except TypeError:
        raise TensorRtError(f"TensorRT's builder does not start: {log.last_error()}") from None


def _profile(
    builder: trt.Builder, segment: Segment, sizes: Mapping[str, Sequence[int]]
) -> trt.IOptimizationProfile:
    profile = builder.create_optimization_profile()
    for tensor in segment.inputs:
        if any(isinstance(dim, str) for dim in tensor.dims):
            profile.set_shape(tensor.name, *shapes_of(tensor, sizes))
    return profile


def _require_contract(
    network: trt.INetworkDefinition, onnx: Path, segment: Segment, weights: torch.dtype
) -> None:
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    for what, tensors, specs in (
        ("inputs", inputs, segment.inputs),
        ("outputs", outputs, segment.outputs),
    ):
        given = {tensor.name: torch_dtype(tensor.dtype) for tensor in tensors}
        expected = {spec.name: dtype_of(spec, weights) for spec in specs}
        if given != expected:
            raise ValueError(
                f"{onnx}: the {what} are {_listed(given)}, segment '{segment.name}' has "
                f"{_listed(expected)}: export it again with this version"
            )


def _listed(dtypes: Mapping[str, torch.dtype]) -> str:
    return ", ".join(f"{name} {str(dtype)[6:]}" for name, dtype in sorted(dtypes.items()))


def _read_timing_cache(config: trt.IBuilderConfig, path: Path | None) -> None:
    if path is None:
        return
    if path.is_file():
        known = config.create_timing_cache(path.read_bytes())
        if known is not None and config.set_timing_cache(known, False):
            return
        _LOG.warning("%s: written by another TensorRT or GPU, timed again", path)
    empty = config.create_timing_cache(b"")
    if empty is not None:
        config.set_timing_cache(empty, False)


def _write_timing_cache(config: trt.IBuilderConfig, path: Path | None) -> None:
    cache = config.get_timing_cache()
    if path is not None and cache is not None:
        _write(path, cache.serialize())


def _write(path: Path, data: trt.IHostMemory) -> None:
    """Write a file atomically: a partial file is renamed when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(data)
    os.replace(partial, path)


def _warn_if_memory_is_short(onnx: Path, device: torch.device) -> None:
    free, _ = torch.cuda.mem_get_info(device)
    needed = _MEMORY_FACTOR * sum(f.stat().st_size for f in onnx.parent.glob(f"{onnx.name}*"))
    if free < needed:
        _LOG.warning(
            "%s: %.1f GiB are free on %s and the build may take %.1f GiB: if it fails, stop other "
            "programs (the desktop too) or add swap",
            onnx,
            free / _GIB,
            device,
            needed / _GIB,
        )


def _failure(onnx: Path, reason: str) -> str:
    hint = ""
    if "Could not find any implementation" in reason or "emory" in reason:
        hint = " (often for lack of free memory: stop other programs, or add swap)"
    return f"{onnx}: TensorRT built no engine: {reason}{hint}"


class Progress(trt.IProgressMonitor):
    """Reports the progress of outermost phases only; Ctrl-C stops the build at the next step.

    TensorRT calls the methods from several threads.
    """

    def __init__(self, report: Report) -> None:
        trt.IProgressMonitor.__init__(self)
        self._report = report
        self._lock = Lock()
        self._steps: dict[str, int] = {}
        self.interrupted = False

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """Report the start of a phase without a parent, which is an outermost one."""
        if parent_phase is None:
            with self._lock:
                self._steps[phase_name] = max(num_steps, 1)
            self._say(phase_name, 0.0)

    def phase_finish(self, phase_name: str) -> None:
        """Report an outermost phase as complete, even if some of its steps were not reported."""
        with self._lock:
            outermost = self._steps.pop(phase_name, None) is not None
        if outermost:
            self._say(phase_name, 1.0)

    def step_complete(self, phase_name: str, step: int) -> bool:
        """Report a completed step; return False to make TensorRT stop the build."""
        with self._lock:
            steps = self._steps.get(phase_name)
        if steps is not None:
            self._say(phase_name, min((step + 1) / steps, 1.0))
        return not self.interrupted

    def _say(self, phase: str, fraction: float) -> None:
        # An exception must not propagate through TensorRT's C++ frames.
        try:
            self._report(phase, fraction)
        except KeyboardInterrupt:
            self.interrupted = True
