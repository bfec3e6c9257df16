"""Element types of the tensors that cross a stage's border."""

import torch

from groot_ros.runtime.contract import TensorSpec

#: By name, as contracts and manifests say it.
DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int64": torch.int64,
    "bool": torch.bool,
}


def dtype_of(tensor: TensorSpec, weights: torch.dtype) -> torch.dtype:
    """Its element type in an engine whose weights have type `weights`."""
    return weights if tensor.kind == "weights" else DTYPES[tensor.kind]
