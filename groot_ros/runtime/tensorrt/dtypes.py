"""TensorRT's element types as torch's."""

import tensorrt as trt
import torch

from groot_ros.runtime.errors import TensorRtError

_TORCH = {
    trt.DataType.FLOAT: torch.float32,
    trt.DataType.HALF: torch.float16,
    trt.DataType.BF16: torch.bfloat16,
    trt.DataType.INT64: torch.int64,
    trt.DataType.INT32: torch.int32,
    trt.DataType.INT8: torch.int8,
    trt.DataType.UINT8: torch.uint8,
    trt.DataType.BOOL: torch.bool,
}


def torch_dtype(dtype: trt.DataType) -> torch.dtype:
    """Raises TensorRtError for a type that torch has no buffers for."""
    try:
        return _TORCH[dtype]
    except KeyError:
        raise TensorRtError(f"torch has no buffer for TensorRT's type {dtype}") from None
