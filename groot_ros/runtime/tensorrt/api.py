# SPDX-License-Identifier: Apache-2.0
"""TensorRT's log, element types and shape profiles."""

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tensorrt as trt
import torch

from groot_ros.core.program import Range, TensorSpec
from groot_ros.runtime.engine import TensorRtError

_LOG = logging.getLogger("groot_ros.tensorrt")
_LEVELS = {
    trt.ILogger.Severity.INTERNAL_ERROR: logging.CRITICAL,
    trt.ILogger.Severity.ERROR: logging.ERROR,
    trt.ILogger.Severity.WARNING: logging.WARNING,
    trt.ILogger.Severity.INFO: logging.DEBUG,
    trt.ILogger.Severity.VERBOSE: logging.NOTSET,
}
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

Shape = tuple[int, ...]


class Log(trt.ILogger):
    """Forwards TensorRT's messages to Python's logging and keeps the last errors.

    Must be kept alive as long as the TensorRT objects that were created with it.
    """

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self._errors: deque[str] = deque(maxlen=5)

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Log a message; called by TensorRT from several threads."""
        level = _LEVELS[severity]
        if level >= logging.ERROR:
            self._errors.append(msg)
        if level:
            _LOG.log(level, "%s", msg)

    def last_error(self) -> str:
        """Return the last error on one line, or that TensorRT gave no reason."""
        return " ".join(self._errors[-1].split()) if self._errors else "TensorRT gave no reason"


def torch_dtype(dtype: trt.DataType) -> torch.dtype:
    """Return torch's element type; raises TensorRtError if torch has no equivalent."""
    try:
        return _TORCH[dtype]
    except KeyError:
        raise TensorRtError(f"torch has no buffer for TensorRT's type {dtype}") from None


class Shapes(NamedTuple):
    """Shapes of one tensor that an engine is built for."""

    smallest: Shape
    usual: Shape
    largest: Shape


def shapes_of(tensor: TensorSpec, sizes: Mapping[str, Sequence[int]]) -> Shapes:
    """Return the tensor's shapes for the smallest, usual and largest sizes.

    Raises:
        ValueError: the profile lacks a free dimension of the tensor, or its sizes do not rise
            from 1.

    """
    spans = [_span(tensor, dim, sizes) for dim in tensor.dims]
    smallest, usual, largest = (tuple(span[i] for span in spans) for i in range(3))
    return Shapes(smallest, usual, largest)


def _span(tensor: TensorSpec, dim: int | str, sizes: Mapping[str, Sequence[int]]) -> Range:
    if isinstance(dim, int):
        return Range(dim, dim, dim)
    if dim not in sizes:
        raise ValueError(f"the profile has no '{dim}', a free dimension of '{tensor.name}'")
    span = Range(*sizes[dim])
    if not 1 <= span.low <= span.usual <= span.high:
        raise ValueError(
            f"the profile's '{dim}' is {tuple(span)}: smallest, usual and largest must rise from 1"
        )
    return span
