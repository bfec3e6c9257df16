"""What TensorRT's parser asks of an ONNX file beyond the standard."""

from math import prod

import onnx
from onnx import TensorProto, helper

_BYTES: dict[int, int] = {TensorProto.FLOAT: 4, TensorProto.FLOAT16: 2, TensorProto.BFLOAT16: 2}


def give_every_norm_a_bias(model: onnx.ModelProto) -> None:
    """Add a bias of zeros to every LayerNormalization without one, in place.

    ONNX leaves it away where there is none. The parser then takes a single zero, and TensorRT's
    layer asks for scale and bias of one shape.

    Raises:
        ValueError: such a layer has a scale that is no initializer, so its shape is not known.

    """
    known = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "LayerNormalization" or (len(node.input) == 3 and node.input[2]):
            continue
        scale = known.get(node.input[1])
        if scale is None:
            raise ValueError(
                f"LayerNormalization '{node.name}' has no bias, and a scale that is computed"
            )
        name = f"{scale.name}_no_bias"
        if name not in known:
            known[name] = _zeros(name, scale)
            model.graph.initializer.append(known[name])
        node.input[:] = [node.input[0], node.input[1], name]


def _zeros(name: str, like: TensorProto) -> TensorProto:
    nothing = bytes(prod(like.dims) * _BYTES[like.data_type])
    return helper.make_tensor(name, like.data_type, like.dims, nothing, raw=True)
