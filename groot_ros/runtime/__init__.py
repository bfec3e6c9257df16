"""How a model is executed: every engine offers the same small interface."""

from groot_ros.runtime.engine import Engine, EngineResult, PrefixInput
from groot_ros.runtime.plain_engine import PlainEngine
from groot_ros.runtime.staged_engine import StagedEngine
from groot_ros.runtime.tensors import TensorInputs
from groot_ros.runtime.torch_engine import TorchEngine

__all__ = [
    "Engine",
    "EngineResult",
    "PlainEngine",
    "PrefixInput",
    "StagedEngine",
    "TensorInputs",
    "TorchEngine",
]
