"""Stages executed by onnxruntime: the very files that TensorRT engines are built from."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from groot_ros.models.gr00t_n1d6 import Gr00tN1d6Config
from groot_ros.runtime.contract import StageSpec, sizes_of, stage_specs
from groot_ros.runtime.errors import EngineFilesError
from groot_ros.runtime.manifest import Manifest
from groot_ros.runtime.precision import DTYPES, dtype_of

_ELEMENTS: dict[torch.dtype, Any] = {
    torch.float32: np.float32,
    torch.float16: np.float16,
    torch.int64: np.int64,
    torch.bool: np.bool_,
    # onnx.TensorProto.BFLOAT16: numpy has no such type.
    torch.bfloat16: 16,
}


class OnnxruntimeStage:
    """One ONNX file behind the signature of its stage.

    Args:
        spec: names and shapes of the stage.
        path: of the file.
        precision: that "weights" stands for in the spec.
        square: patches that become one image token.
        device: where the tensors are, and the file runs.
        threads: of one operator, 0 = onnxruntime's own choice.
        quantised: "int8", "fp8" or empty.

    Raises:
        EngineFilesError: the file cannot be loaded, or not be run on this device.

    """

    def __init__(
        self,
        spec: StageSpec,
        path: Path,
        precision: str,
        square: int,
        device: torch.device,
        threads: int = 0,
        quantised: str = "",
    ) -> None:
        self._spec, self._square, self._device = spec, square, device
        self._weights = DTYPES[precision]
        self._session = _session(path, device, threads, quantised)
        beside = path.with_name(f"{path.name}.data")
        #: Size of the weights' files.
        self.nbytes = sum(f.stat().st_size for f in (path, beside) if f.is_file())
        names = {i.name for i in self._session.get_inputs()}
        #: Some checkpoints leave an input unread, and the export drops it.
        self._read = [spec_input.name in names for spec_input in spec.inputs]

    def __call__(self, *inputs: Tensor) -> Any:
        """Tensors in the order of the spec to those of its outputs; a single one comes bare."""
        shapes = zip(self._spec.inputs, (given.shape for given in inputs), strict=True)
        sizes = sizes_of(self._spec, {spec.name: shape for spec, shape in shapes})
        binding = self._session.io_binding()
        held = []
        for spec, given, read in zip(self._spec.inputs, inputs, self._read, strict=True):
            if read:
                tensor = given.to(self._device, dtype_of(spec, self._weights)).contiguous()
                held.append(tensor)
                self._bind(binding.bind_input, spec.name, tensor)
        if "patches" in sizes:
            sizes["cells"] = sizes["patches"] // self._square
        outputs = []
        for spec in self._spec.outputs:
            shape = [d if isinstance(d, int) else sizes[d] for d in spec.dims]
            dtype = dtype_of(spec, self._weights)
            outputs.append(torch.empty(shape, dtype=dtype, device=self._device))
            self._bind(binding.bind_output, spec.name, outputs[-1])
        if self._device.type == "cuda":
            # onnxruntime has a stream of its own, which knows nothing of torch's.
            torch.cuda.current_stream(self._device).synchronize()
        self._session.run_with_iobinding(binding)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _bind(self, bind: Any, name: str, tensor: Tensor) -> None:
        kind, index = self._device.type, self._device.index or 0
        element = _ELEMENTS[tensor.dtype]
        bind(name, kind, index, element, tuple(tensor.shape), tensor.data_ptr())


def onnxruntime_stages(
    directory: Path,
    manifest: Manifest,
    config: Gr00tN1d6Config,
    device: torch.device,
    threads: int = 0,
) -> dict[str, OnnxruntimeStage]:
    """Every stage of the manifest by name; raises EngineFilesError."""
    specs = stage_specs(config)
    square = config.eagle.shuffle**2
    return {
        name: OnnxruntimeStage(
            specs[name],
            directory / files.onnx,
            manifest.precision,
            square,
            device,
            threads,
            files.quantised,
        )
        for name, files in manifest.stages.items()
    }


def providers(device: torch.device) -> list[Any]:
    """Execution providers for this device; raises EngineFilesError where there is none."""
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
    # Four sessions that spin between their runs take the cores from torch, and from the robot.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Errors come as exceptions; what remains are warnings about shapes.
    options.log_severity_level = 3
    if quantised == "fp8":
        # Its optimiser takes every Q/DQ pair for INT8 (1.31) and makes an invalid graph of FP8.
        basic = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.graph_optimization_level = basic
    try:
        return onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=providers(device)
        )
    except EngineFilesError:
        raise
    except Exception as error:  # the library raises a class per status code
        reason = " ".join(str(error).split())
        raise EngineFilesError(f"{path}: onnxruntime cannot run it: {reason:.300}") from error
