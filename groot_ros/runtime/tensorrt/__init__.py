# SPDX-License-Identifier: Apache-2.0
"""TensorRT 10.3 (JetPack 6.2) to 11: build engines from ONNX files and run them on torch's buffers.

Without TensorRT only `availability` can be imported; call `unavailable()` before importing the
other modules. Torch provides the device memory, the streams and the CUDA graphs, so neither pycuda
nor cuda-python is needed.
"""

from groot_ros.runtime.tensorrt.availability import unavailable

__all__ = ["unavailable"]
