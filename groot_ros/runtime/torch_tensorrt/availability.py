# SPDX-License-Identifier: Apache-2.0
"""Check whether Torch-TensorRT can run on this machine, without importing it."""

import importlib.metadata
import importlib.util

import torch

from groot_ros.runtime.tensorrt.availability import version_numbers

PACKAGE = "torch_tensorrt"
#: Quantises PyTorch modules in the form that Torch-TensorRT converts.
MODELOPT = "modelopt"
#: Oldest supported version, the one of NVIDIA's instructions for GR00T N1.5.
OLDEST = (2, 9)


def unavailable(quantised: bool = False) -> str | None:
    """Return why Torch-TensorRT cannot run on this machine, on one line; None if it can.

    Args:
        quantised: whether products are quantised, which needs NVIDIA's Model Optimizer.

    """
    if importlib.util.find_spec(PACKAGE) is None:
        return f"Torch-TensorRT is not installed: pip install torch-tensorrt=={_of_torch()}.*"
    if not torch.cuda.is_available():
        return (
            f"torch {torch.__version__} does not see a GPU: Torch-TensorRT needs the build of "
            "torch for this CUDA (docs/how-to/jetson.md)"
        )
    version = installed_version()
    if version_numbers(version)[:2] < OLDEST:
        return (
            f"Torch-TensorRT {version} is too old: {'.'.join(map(str, OLDEST))} or newer is needed"
        )
    if version_numbers(version)[:2] != version_numbers(torch.__version__)[:2]:
        return (
            f"Torch-TensorRT {version} does not belong to torch {torch.__version__}: "
            f"pip install torch-tensorrt=={_of_torch()}.*"
        )
    if quantised and importlib.util.find_spec(MODELOPT) is None:
        return "NVIDIA's Model Optimizer is not installed: pip install nvidia-modelopt"
    return None


def installed_version() -> str:
    """Return the version of Torch-TensorRT, such as "2.13.0"."""
    return importlib.metadata.version("torch-tensorrt")


def _of_torch() -> str:
    return ".".join(map(str, version_numbers(torch.__version__)[:2]))
