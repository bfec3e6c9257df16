# SPDX-License-Identifier: Apache-2.0
"""Engine "onnxruntime": runs the exported ONNX files, from which TensorRT engines are built."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from groot_ros.core.program import ProgramSpec, Segment
from groot_ros.runtime.device import DTYPES, dtype_of
from groot_ros.runtime.engine import EngineFilesError, one_line
from groot_ros.runtime.engines import EngineFiles, EngineKind, LoadRequest
from groot_ros.runtime.program_engine import ProgramEngine, SegmentRunner

_ELEMENTS: dict[torch.dtype, Any] = {
    torch.float32: np.float32,
    torch.float16: np.float16,
    torch.int64: np.int64,
    torch.bool: np.bool_,
    # The value of onnx.TensorProto.BFLOAT16, as numpy has no such type.
    torch.bfloat16: 16,
}
#: onnxruntime's names of the element types.
_TYPES = {
    torch.float32: "tensor(float)",
    torch.float16: "tensor(float16)",
    torch.bfloat16: "tensor(bfloat16)",
    torch.int64: "tensor(int64)",
    torch.bool: "tensor(bool)",
}


class OnnxruntimeSegment:
    """Executes one ONNX file; takes and returns tensors in the order of the specification."""

    def __init__(
        self,
        program: ProgramSpec,
        name: str,
        path: Path,
        precision: str,
        device: torch.device,
        threads: int = 0,
        quantised: str = "",
    ) -> None:
        """Load a file.

        Args:
            program: program that contains the segment.
            name: name of the segment.
            path: the ONNX file.
            precision: element type of the tensors of kind "weights" in the specification.
            device: device of the tensors, on which the file runs.
            threads: threads per operator, 0 to let onnxruntime choose.
            quantised: "int8", "fp8" or empty.

        Raises:
            EngineFilesError: the file cannot be loaded, is not of this segment and precision, or
                cannot run on this device.

        """
        self._program, self._segment, self._device = program, program.segment(name), device
        self._weights, self._path = DTYPES[precision], path
        self._session = _session(path, device, threads, quantised)
        _require_specification(self._session, self._segment, self._weights, path)
        data = path.with_name(f"{path.name}.data")
        #: Size of the ONNX file and its data file.
        self.nbytes = sum(f.stat().st_size for f in (path, data) if f.is_file())
        names = {i.name for i in self._session.get_inputs()}
        #: Whether the file has each input: the export drops an input that the model does not use.
        self._read = [tensor.name in names for tensor in self._segment.inputs]

    def __call__(self, *inputs: Tensor) -> Any:
        """Run the file; return one output as a tensor, several as a tuple."""
        specs = self._segment.inputs
        shapes = {s.name: given.shape for s, given in zip(specs, inputs, strict=True)}
        sizes = self._program.complete(self._segment.sizes(shapes))
        binding = self._session.io_binding()
        held = []
        for spec, given, read in zip(specs, inputs, self._read, strict=True):
            if read:
                tensor = given.to(self._device, dtype_of(spec, self._weights)).contiguous()
                held.append(tensor)
                self._bind(binding.bind_input, spec.name, tensor)
        outputs = []
        for spec in self._segment.outputs:
            shape = [d if isinstance(d, int) else sizes[d] for d in spec.dims]
            dtype = dtype_of(spec, self._weights)
            outputs.append(torch.empty(shape, dtype=dtype, device=self._device))
            self._bind(binding.bind_output, spec.name, outputs[-1])
        if self._device.type == "cuda":
            # onnxruntime runs on its own stream, which does not wait for torch's stream.
            torch.cuda.current_stream(self._device).synchronize()
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # the library raises a class per status code
            raise RuntimeError(f"{self._path}: onnxruntime: {one_line(error):.300}") from error
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _bind(self, bind: Any, name: str, tensor: Tensor) -> None:
        kind, index = self._device.type, self._device.index or 0
        element = _ELEMENTS[tensor.dtype]
        bind(name, kind, index, element, tuple(tensor.shape), tensor.data_ptr())


def providers(device: torch.device) -> list[Any]:
    """Return the execution providers for this device; raises EngineFilesError if none exists."""
    import onnxruntime

    if device.type == "cpu":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise EngineFilesError(
            f"onnxruntime {onnxruntime.__version__} runs on the CPU only, the model is on "
            f"{device}: install onnxruntime-gpu, or set device to cpu"
        )
    return [("CUDAExecutionProvider", {"device_id": device.index or 0}), "CPUExecutionProvider"]


def _session(path: Path, device: torch.device, threads: int, quantised: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that spin between runs would take CPU time from torch and from the robot's processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Errors are raised as exceptions; the remaining messages are warnings about shapes.
    options.log_severity_level = 3
    if quantised == "fp8":
        # The full optimiser (1.31) treats every Q/DQ pair as INT8 and makes an invalid FP8 graph.
        basic = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.graph_optimization_level = basic
    try:
        return onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=providers(device)
        )
    except EngineFilesError:
        raise
    except Exception as error:  # the library raises a class per status code
        raise EngineFilesError(
            f"{path}: onnxruntime cannot run it: {one_line(error):.300}"
        ) from error


def _require_specification(
    session: Any, segment: Segment, weights: torch.dtype, path: Path
) -> None:
    """Raise EngineFilesError unless the file has the tensors of the specification.

    Inputs may be missing, as the export drops those that the model does not use.
    """
    given = {value.name: value for value in (*session.get_inputs(), *session.get_outputs())}
    known = {tensor.name: tensor for tensor in (*segment.inputs, *segment.outputs)}
    strange = sorted(set(given) - set(known))
    absent = [tensor.name for tensor in segment.outputs if tensor.name not in given]
    if strange or absent:
        what = f"has '{strange[0]}'" if strange else f"lacks '{absent[0]}'"
        raise EngineFilesError(
            f"{path}: it {what}, unlike segment '{segment.name}': export it again"
        )
    for name, value in given.items():
        expected = f"{_TYPES[dtype_of(known[name], weights)]} {_shown(known[name].dims)}"
        found = f"{value.type} {_shown(value.shape)}"
        if found != expected:
            raise EngineFilesError(
                f"{path}: '{name}' is {found}, in segment '{segment.name}' it is {expected}: "
                "export it again"
            )


def _shown(dims: Sequence[int | str]) -> str:
    return f"[{', '.join(map(str, dims))}]"


def load(request: LoadRequest) -> ProgramEngine:
    """Load the exported segments, and the program whose other segments run in PyTorch."""
    files = request.require_files()
    manifest = files.manifest
    manifest.require_onnx(files.directory)
    threads = torch.get_num_threads() if request.device.type == "cpu" else 0
    exported = {
        name: OnnxruntimeSegment(
            request.source.program,
            name,
            files.directory / own.onnx,
            manifest.precision,
            request.device,
            threads,
            own.quantised,
        )
        for name, own in manifest.segments.items()
    }
    program = request.remaining_program(files)
    # Few processors support packed products in float16.
    if program.dtype != torch.float16:
        program.pack()
    held = sum(segment.nbytes for segment in exported.values())
    return ProgramEngine("onnxruntime", program, SegmentRunner(program, exported, file_bytes=held))


def why_unavailable(device: torch.device, files: EngineFiles | None) -> str:
    """Return why onnxruntime cannot run the files on this device; "" if no reason is known."""
    if importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed: pip install onnxruntime"
    precision = "" if files is None else files.manifest.precision
    if device.type == "cpu" and precision == "bfloat16":
        return "onnxruntime does not execute bfloat16 on a CPU; export in float32 or float16"
    return ""


ENGINE = EngineKind(
    "onnxruntime", rank=3, needs_files=True, load=load, unavailable_reason=why_unavailable
)
