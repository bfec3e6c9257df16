# SPDX-License-Identifier: Apache-2.0
"""Compile a segment with Torch-TensorRT's MutableTorchTensorRTModule.

Torch-TensorRT 2.9 to 2.12 have weak typing as an option; 2.13, made for TensorRT 11, has explicit
typing only. Versions before 2.11 always write attention as products and a softmax.
"""

import inspect
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch_tensorrt
from torch import Tensor, nn

from groot_ros.core.program import ProgramSpec, Range
from groot_ros.runtime.engine import TensorRtError, one_line
from groot_ros.runtime.torch_tensorrt.options import CompileOptions
from groot_ros.runtime.torch_tensorrt.segment_module import (
    dynamic_shapes,
    example_inputs,
    require_inside,
    with_named_inputs,
)


def compiler_settings(
    options: CompileOptions, precision: torch.dtype, attention: str, timing_cache: Path
) -> dict[str, Any]:
    """Return the keyword arguments of the installed version's compiler.

    Args:
        options: options of the engine.
        precision: element type of the exported weights.
        attention: "math" or "fused"; see `runtime.ATTENTION`.
        timing_cache: file in which TensorRT keeps the times of kernels.

    Raises:
        TensorRtError: the installed version does not have a requested option.

    """
    known = inspect.signature(torch_tensorrt.dynamo.compile).parameters
    settings: dict[str, Any] = {
        "use_fp32_acc": options.fp32_accumulation,
        "disable_tf32": True,
        "optimization_level": options.optimisation_level,
        "workspace_size": options.workspace_bytes,
        "timing_cache_path": str(timing_cache),
        # Otherwise the weights would be on the device twice.
        "offload_module_to_cpu": True,
    }
    version = torch_tensorrt.__version__
    if "decompose_attention" in known:
        settings["decompose_attention"] = attention == "math"
    elif attention != "math":
        raise TensorRtError(
            f"Torch-TensorRT {version} has no fused attention: make the engine with "
            "--attention math"
        )
    if "use_explicit_typing" in known:
        settings["use_explicit_typing"] = options.explicit_typing
        if not options.explicit_typing:
            eighth = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}
            kinds = {eighth[options.quantise]} if options.quantise else set()
            settings["enabled_precisions"] = {torch.float32, precision, *kinds}
    elif not options.explicit_typing:
        raise TensorRtError(
            f"Torch-TensorRT {version} has explicit typing only: make the engine without "
            "--no-explicit-typing"
        )
    return settings


class CompiledSegment:
    """Executes a compiled segment; takes and returns the tensors of its specification in order."""

    def __init__(
        self,
        module: nn.Module,
        program: ProgramSpec,
        name: str,
        profile: Mapping[str, Range],
        *,
        dtype: torch.dtype,
        device: torch.device,
        settings: Mapping[str, Any],
    ) -> None:
        """Compile a segment, which takes minutes for a large one.

        Args:
            module: takes and returns the tensors of the segment; moved to the host afterwards.
            program: program that contains the segment.
            name: name of the segment.
            profile: free dimension -> its sizes.
            dtype: element type of the weights.
            device: GPU to compile for.
            settings: result of `compiler_settings`.

        Raises:
            TensorRtError: the segment cannot be compiled, or nothing of it runs in TensorRT.

        """
        self._program, self._segment, self._profile = program, program.segment(name), profile
        example = example_inputs(self._segment, profile, dtype, device)
        wrapped = with_named_inputs(module, len(example))
        self._module = torch_tensorrt.MutableTorchTensorRTModule(
            wrapped, device=device, strict=False, **settings
        )
        # Annotated as a tuple of one entry in Torch-TensorRT, although it takes one per input.
        shapes: Any = dynamic_shapes(self._segment, program, profile)
        if any(shapes):
            self._module.set_expected_dynamic_shape_range(shapes, {})
        try:
            with _gpu(device), torch.inference_mode(False), torch.no_grad():
                self._module(*example)
        except Exception as error:  # export, lowering and TensorRT raise their own classes
            raise TensorRtError(
                f"segment '{name}': Torch-TensorRT does not compile it: {one_line(error):.400}"
            ) from error
        if not self.engine_count and not settings.get("dryrun"):
            raise TensorRtError(f"segment '{name}': Torch-TensorRT left all of it to PyTorch")

    @property
    def engine_count(self) -> int:
        """Return the number of TensorRT engines; PyTorch runs the operations between them."""
        kind = torch_tensorrt.runtime.TorchTensorRTModule
        return sum(isinstance(part, kind) for part in self._module.gm.modules())

    def __call__(self, *inputs: Tensor) -> Any:
        """Run the segment; return one output as a tensor, several as a tuple.

        Raises:
            ValueError: a size is outside the range that the segment was compiled for.

        """
        require_inside(self._segment, self._program, self._profile, inputs)
        return self._module(*inputs)


def _gpu(device: torch.device) -> AbstractContextManager[Any]:
    # The compiler uses the current device.
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
