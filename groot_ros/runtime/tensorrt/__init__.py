"""TensorRT 10.3 (JetPack 6.2) to 11: engines built from ONNX files and run on torch's buffers.

Only `availability` may be imported where TensorRT is not installed; call `unavailable()` first.
Torch owns the device's memory, the streams and the CUDA graphs, so neither pycuda nor cuda-python
is needed.
"""

from groot_ros.runtime.tensorrt.availability import unavailable

__all__ = ["unavailable"]
