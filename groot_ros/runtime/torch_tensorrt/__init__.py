# SPDX-License-Identifier: Apache-2.0
"""Torch-TensorRT 2.9 and newer: compile segments of a program when they are loaded.

No engine files are written: Torch-TensorRT stores compiled modules as pickles, which this package
does not load. The manifest holds the options, and every start compiles the segments again.

Without Torch-TensorRT only `compiling` cannot be used; call `unavailable()` first.
"""

from groot_ros.runtime.torch_tensorrt.availability import unavailable

__all__ = ["unavailable"]
