# SPDX-License-Identifier: Apache-2.0
"""Exported files against the documentation of TensorRT's parser: operators, types, axes."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

for needed in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(needed, reason=f"{needed} is not installed: exporting needs it")

import onnx
import onnxruntime
from onnx import TensorProto, helper
from support.tiny_staged_model import staged_model

from groot_ros.export.onnx_file import OPSET, export_segment, give_every_norm_a_bias

pytestmark = pytest.mark.slow

#: Those of docs/operators.md of onnx-tensorrt 10.1 that take FP32, FP16 and BF16 (or BOOL, for
#: `Not`), as far as they occur here; TensorRT 10.3 came later.
PARSED = {
    *("Add", "Cast", "Concat", "Div", "Erf", "Expand", "Gather", "Gemm", "LayerNormalization"),
    *("MatMul", "Mul", "Neg", "Not", "Pow", "Reciprocal", "ReduceMean", "Relu", "Reshape"),
    *("Shape", "Sigmoid", "Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Tanh"),
    *("Transpose", "Trilu", "Unsqueeze", "Where"),
}
#: Which input holds the axes; the parser takes only constant ones.
AXES = {"Slice": 3, "Squeeze": 1, "Unsqueeze": 1, "ReduceMean": 1}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, onnx.ModelProto]:
    program, folder = staged_model(), tmp_path_factory.mktemp("onnx")
    found = {}
    for name, module in program.modules.items():
        path = folder / f"{name}.onnx"
        module.to(torch.bfloat16)
        export_segment(module, program.spec, name, path, precision="bfloat16")
        found[name] = onnx.load(str(path))
    return found


def nodes(files: dict[str, onnx.ModelProto]) -> Iterator[tuple[onnx.NodeProto, set[str]]]:
    for model in files.values():
        constants = {tensor.name for tensor in model.graph.initializer}
        for node in model.graph.node:
            yield node, constants


def test_every_operator_is_one_that_the_parser_knows(files: dict[str, onnx.ModelProto]) -> None:
    assert OPSET <= 20
    for model in files.values():
        assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
        assert not model.functions
    assert {node.op_type for node, _ in nodes(files)} <= PARSED


def test_axes_are_constant(files: dict[str, onnx.ModelProto]) -> None:
    seen = 0
    for node, constants in nodes(files):
        if node.op_type in AXES:
            assert node.input[AXES[node.op_type]] in constants, node
            seen += 1
    assert seen > 10


def test_every_norm_has_scale_and_bias(files: dict[str, onnx.ModelProto]) -> None:
    norms = [node for node, _ in nodes(files) if node.op_type == "LayerNormalization"]
    assert norms
    assert all(len(node.input) == 3 and all(node.input) for node in norms)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_a_bias_of_zeros_changes_no_number(kind: int) -> None:
    def tensor(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, [2, 4])

    scale = helper.make_tensor("scale", kind, [4], [1.0, 2.0, 0.5, -1.0])
    norm = helper.make_node("LayerNormalization", ["x", "scale"], ["y"], axis=-1)
    graph = helper.make_graph([norm], "norm", [tensor("x")], [tensor("y")], [scale])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    dtype = np.float32 if kind == TensorProto.FLOAT else np.float16
    x = np.random.default_rng(0).normal(size=(2, 4)).astype(dtype)

    def run() -> np.ndarray:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return session.run(None, {"x": x})[0]

    before = run()
    give_every_norm_a_bias(model)
    assert list(model.graph.node[0].input) == ["x", "scale", "scale_no_bias"]
    onnx.checker.check_model(model)
    np.testing.assert_array_equal(run(), before)
    give_every_norm_a_bias(model)
    assert len(model.graph.initializer) == 2


def test_a_computed_scale_without_a_bias_is_rejected() -> None:
    norm = helper.make_node("LayerNormalization", ["x", "scale"], ["y"], name="odd")
    model = helper.make_model(helper.make_graph([norm], "norm", [], []))
    with pytest.raises(ValueError, match="LayerNormalization 'odd' has no bias"):
        give_every_norm_a_bias(model)
