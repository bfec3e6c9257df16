# SPDX-License-Identifier: Apache-2.0
"""A Torch-TensorRT that exports modules with torch.export and runs the exported program."""

import importlib.machinery
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import nn


class TorchTensorRTModule(nn.Module):
    """Stands for one TensorRT engine."""

    def __init__(self, exported: nn.Module) -> None:
        super().__init__()
        self.exported = exported

    def forward(self, *inputs: Any) -> Any:
        return self.exported(*inputs)


class MutableModule:
    """Compiles at the first call, as MutableTorchTensorRTModule does."""

    def __init__(self, package: "FakeTorchTensorRt", module: nn.Module, **given: Any) -> None:
        self.package, self.original_model, self.given = package, module, given
        self.shapes: Any = None
        self.gm: Any = None
        self.compilations = 0

    def set_expected_dynamic_shape_range(self, args: Any, kwargs: Any) -> None:
        assert kwargs == {}
        names = inspect.signature(self.original_model.forward).parameters
        self.shapes = dict(zip(names, args, strict=True))

    def __call__(self, *inputs: Any) -> Any:
        if self.gm is None:
            self.compilations += 1
            if self.package.rejection:
                raise RuntimeError(self.package.rejection)
            strict = self.given["strict"]
            found = torch.export.export(
                self.original_model, inputs, dynamic_shapes=self.shapes, strict=strict
            )
            engine = TorchTensorRTModule(found.module())
            self.gm = engine if self.package.converts else engine.exported
        return self.gm(*inputs)


class FakeTorchTensorRt(ModuleType):
    """The package, of a version that has the given settings."""

    def __init__(self, *settings: str, version: str = "2.13.0") -> None:
        super().__init__("torch_tensorrt")
        self.__spec__ = importlib.machinery.ModuleSpec("torch_tensorrt", None)
        self.__version__ = version
        self.rejection, self.converts = "", True
        self.modules: list[MutableModule] = []
        kind = inspect.Parameter.KEYWORD_ONLY
        self.dynamo = ModuleType("dynamo")
        self.dynamo.compile = lambda: None  # type: ignore[attr-defined]
        self.dynamo.compile.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(name, kind) for name in settings]
        )
        self.runtime = ModuleType("runtime")
        self.runtime.TorchTensorRTModule = TorchTensorRTModule  # type: ignore[attr-defined]

    def MutableTorchTensorRTModule(self, module: nn.Module, **given: Any) -> MutableModule:  # noqa: N802
        made = MutableModule(self, module, **given)
        self.modules.append(made)
        return made


@contextmanager
def use_fake_torch_tensorrt(package: FakeTorchTensorRt) -> Iterator[None]:
    """Let `import torch_tensorrt` return the package, and reload the engine code."""
    names = ("torch_tensorrt", "groot_ros.runtime.torch_tensorrt.compiling")
    before = {name: sys.modules.pop(name, None) for name in names}
    sys.modules["torch_tensorrt"] = package
    try:
        yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module
