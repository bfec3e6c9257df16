# SPDX-License-Identifier: Apache-2.0
"""A `tensorrt` module without a GPU: its engines run PyTorch modules on the given addresses.

It has only what the engine code uses; test_tensorrt_bindings.py checks that the real module has the
same. An "ONNX file" is a JSON file with the name and the tensors of a segment.
"""

import ctypes
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from enum import Enum, IntEnum
from math import prod
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from groot_ros.core.program import Program, Segment
from groot_ros.runtime.device import dtype_of
from groot_ros.runtime.tensorrt import availability

PACKAGE = "groot_ros.runtime.tensorrt"
STREAM = 77


class DataType(Enum):
    FLOAT = "float32"
    HALF = "float16"
    BF16 = "bfloat16"
    INT64 = "int64"
    INT32 = "int32"
    INT8 = "int8"
    UINT8 = "uint8"
    BOOL = "bool"
    FP8 = "float8"


class NetworkDefinitionCreationFlag(IntEnum):
    STRONGLY_TYPED = 1


class BuilderFlag(Enum):
    TF32 = 0


class MemoryPoolType(Enum):
    WORKSPACE = 0


class Severity(IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class ILogger:
    Severity = Severity


class IProgressMonitor:
    pass


def write_onnx(path: Path, segment: Segment, weights: torch.dtype) -> Path:
    """Write the stand-in of an exported segment; return its path."""

    def listed(specs: Sequence[Any]) -> dict[str, str]:
        return {spec.name: str(dtype_of(spec, weights))[6:] for spec in specs}

    content = {
        "segment": segment.name,
        "inputs": listed(segment.inputs),
        "outputs": listed(segment.outputs),
        "fixed": {s.name: s.dims for s in segment.inputs},
    }
    path.write_text(json.dumps(content))
    return path


class Config:
    def __init__(self, tensorrt: "FakeTensorRt") -> None:
        self._tensorrt = tensorrt
        self.builder_optimization_level = -1
        self.pools: dict[MemoryPoolType, int] = {}
        self.cleared: list[BuilderFlag] = []
        self.profiles: list[Profile] = []
        self.progress_monitor: Any = None
        self.cache: bytes | None = None

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.cleared.append(flag)

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self.pools[pool] = pool_size

    def add_optimization_profile(self, profile: "Profile") -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> SimpleNamespace:
        return SimpleNamespace(content=bytes(serialized_timing_cache))

    def set_timing_cache(self, cache: SimpleNamespace, ignore_mismatch: bool) -> bool:
        if cache.content.startswith(b"other"):
            return False
        self.cache = cache.content
        return True

    def get_timing_cache(self) -> SimpleNamespace | None:
        cache = self.cache
        return None if cache is None else SimpleNamespace(serialize=lambda: cache + b" timed")


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[Any, Any, Any]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self.shapes[input] = (min, opt, max)


class Network:
    def __init__(self) -> None:
        self.content: dict[str, Any] = {}

    @property
    def num_inputs(self) -> int:
        return len(self.content["inputs"])

    @property
    def num_outputs(self) -> int:
        return len(self.content["outputs"])

    def get_input(self, index: int) -> SimpleNamespace:
        return self._tensor("inputs", index)

    def get_output(self, index: int) -> SimpleNamespace:
        return self._tensor("outputs", index)

    def _tensor(self, kind: str, index: int) -> SimpleNamespace:
        name, dtype = list(self.content[kind].items())[index]
        return SimpleNamespace(name=name, dtype=DataType(dtype))


class Parser:
    def __init__(self, network: Network, logger: Any) -> None:
        self._network = network
        self._errors: list[str] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> SimpleNamespace:
        return SimpleNamespace(desc=lambda: self._errors[index])

    def parse_from_file(self, model: str) -> bool:
        try:
            self._network.content = json.loads(Path(model).read_text())
        except ValueError as error:
            self._errors.append(f"no protobuf: {error}")
        return not self._errors


class Builder:
    def __init__(self, tensorrt: "FakeTensorRt", logger: Any) -> None:
        self._tensorrt, self._logger = tensorrt, logger

    def create_network(self, flags: int = 0) -> Network:
        self._tensorrt.flags.append(flags)
        return Network()

    def create_builder_config(self) -> Config:
        self._tensorrt.configs.append(Config(self._tensorrt))
        return self._tensorrt.configs[-1]

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        monitor = config.progress_monitor
        if monitor is not None:
            monitor.phase_start("Building Engine", None, 2)
            going = monitor.step_complete("Building Engine", 0)
            if not going:
                return None
            monitor.phase_finish("Building Engine")
        if self._tensorrt.rejection:
            self._logger.log(Severity.ERROR, self._tensorrt.rejection)
            return None
        fixed = {
            name: (dims, dims, dims)
            for name, dims in network.content["fixed"].items()
            if all(isinstance(dim, int) for dim in dims)
        }
        return json.dumps(
            {**network.content, "profile": {**fixed, **config.profiles[0].shapes}}
        ).encode()


class Engine:
    def __init__(self, tensorrt: "FakeTensorRt", content: dict[str, Any]) -> None:
        self._tensorrt, self.content = tensorrt, content
        self.device_memory_size_v2 = 1000
        self._tensors = {**content["inputs"], **content["outputs"]}

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType(self._tensors[name])

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[list[int]]:
        return self.content["profile"][name]

    def create_execution_context(self) -> "Context":
        context = Context(self._tensorrt, self)
        self._tensorrt.contexts[self.content["segment"]] = context
        return context


class Context:
    def __init__(self, tensorrt: "FakeTensorRt", engine: Engine) -> None:
        self._tensorrt, self._engine = tensorrt, engine
        self.addresses: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.shape_calls: list[str] = []
        self.address_calls: list[str] = []
        self.streams: list[int] = []

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape_calls.append(name)
        self.shapes[name] = tuple(shape)
        return True

    def infer_shapes(self) -> list[str]:
        return [name for name in self._engine.content["inputs"] if name not in self.shapes]

    def get_tensor_shape(self, name: str) -> list[int]:
        program = self._tensorrt.program.spec
        segment = program.segment(self._engine.content["segment"])
        sizes = program.complete(segment.sizes(self.shapes))
        (found,) = (spec for spec in segment.outputs if spec.name == name)
        return [sizes[dim] if isinstance(dim, str) else dim for dim in found.dims]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.address_calls.append(name)
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        self.streams.append(stream_handle)
        module = self._tensorrt.program.modules[self._engine.content["segment"]]
        inputs = [self._at(name, self.shapes[name]) for name in self._engine.content["inputs"]]
        with torch.inference_mode():
            results = module(*inputs)
        results = results if isinstance(results, tuple) else (results,)
        for name, result in zip(self._engine.content["outputs"], results, strict=True):
            assert list(result.shape) == self.get_tensor_shape(name)
            self._at(name, tuple(result.shape)).copy_(result)
        return True

    def _at(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return a tensor that views the memory at the bound address."""
        dtype = getattr(torch, self._engine.get_tensor_dtype(name).value)
        raw = (ctypes.c_char * (prod(shape) * dtype.itemsize)).from_address(self.addresses[name])
        return torch.frombuffer(raw, dtype=dtype).view(shape)


class FakeTensorRt(ModuleType):
    """Replacement for the module `tensorrt`.

    Attributes:
        program: gives the PyTorch module and the specification of each segment.
        rejection: error of the builder; it builds nothing then.
        contexts, configs, flags: all objects and arguments so far.

    """

    def __init__(self, program: Program) -> None:
        super().__init__("tensorrt")
        self.program = program
        self.rejection = ""
        self.contexts: dict[str, Context] = {}
        self.configs: list[Config] = []
        self.flags: list[int] = []
        self.__version__ = "10.3.0"
        self.DataType = DataType
        self.ILogger, self.IProgressMonitor = ILogger, IProgressMonitor
        self.NetworkDefinitionCreationFlag = NetworkDefinitionCreationFlag
        self.MemoryPoolType, self.BuilderFlag = MemoryPoolType, BuilderFlag
        self.OnnxParser = Parser
        self.IHostMemory = bytes
        self.IBuilderConfig, self.IOptimizationProfile = Config, Profile
        self.INetworkDefinition = Network
        self.ICudaEngine, self.IExecutionContext = Engine, Context
        self.Builder = lambda logger: Builder(self, logger)
        self.Runtime = self._runtime

    def _runtime(self, logger: Any) -> SimpleNamespace:
        def deserialize_cuda_engine(serialized_engine: Any) -> Engine | None:
            try:
                return Engine(self, json.loads(bytes(serialized_engine)))
            except ValueError:
                logger.log(Severity.ERROR, "Serialization assertion failed")
                return None

        return SimpleNamespace(deserialize_cuda_engine=deserialize_cuda_engine)


@contextmanager
def use_fake_tensorrt(tensorrt: FakeTensorRt) -> Iterator[None]:
    """Let `import tensorrt` return it, and simulate a driver, a stream and 10 GiB of memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tensorrt", tensorrt)
        for name in [n for n in sys.modules if n.startswith(f"{PACKAGE}.")]:
            if name != availability.__name__:
                patch.delitem(sys.modules, name)
        patch.setattr(availability, "unavailable", lambda: None)
        patch.setattr(torch.cuda, "device", lambda _: nullcontext())
        stream = SimpleNamespace(cuda_stream=STREAM)
        patch.setattr(torch.cuda, "current_stream", lambda _: stream)
        patch.setattr(torch.cuda, "mem_get_info", lambda _: (10 * 2**30, 16 * 2**30))
        properties = SimpleNamespace(name="Orin", major=8, minor=7, multi_processor_count=16)
        patch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
        yield
        # Modules imported meanwhile refer to the fake.
        for name in [n for n in sys.modules if n.startswith(f"{PACKAGE}.")]:
            if name != availability.__name__:
                del sys.modules[name]
