"""Sets the scene for tests of the TensorRT engine: the pretended module in the true one's place."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch

from groot_ros.runtime.tensorrt import presence
from support.pretend_tensorrt import PretendTensorRt

PACKAGE = "groot_ros.runtime.tensorrt"
STREAM = 77


@contextmanager
def pretended(tensorrt: PretendTensorRt) -> Iterator[None]:
    """`import tensorrt` gives it, and there is a driver, a stream and 10 GiB of memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tensorrt", tensorrt)
        for name in [n for n in sys.modules if n.startswith(f"{PACKAGE}.")]:
            if name != presence.__name__:
                patch.delitem(sys.modules, name)
        patch.setattr(presence, "unavailable", lambda: None)
        patch.setattr(torch.cuda, "device", lambda _: nullcontext())
        stream = SimpleNamespace(cuda_stream=STREAM)
        patch.setattr(torch.cuda, "current_stream", lambda _: stream)
        patch.setattr(torch.cuda, "mem_get_info", lambda _: (10 * 2**30, 16 * 2**30))
        properties = SimpleNamespace(name="Orin", major=8, minor=7, multi_processor_count=16)
        patch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
        yield
        # What was imported meanwhile knows the pretended one.
        for name in [n for n in sys.modules if n.startswith(f"{PACKAGE}.")]:
            if name != presence.__name__:
                del sys.modules[name]
