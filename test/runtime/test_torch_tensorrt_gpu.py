# SPDX-License-Identifier: Apache-2.0
"""Torch-TensorRT on a GPU: compiled segments against the staged model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_staged_model import observation, prefix

from groot_ros.families.gr00t_n1d6.network import build_model
from groot_ros.families.gr00t_n1d6.program import SEGMENTS, StagedModel, make_staged
from groot_ros.runtime.program_engine import ProgramEngine, SegmentRunner
from groot_ros.runtime.torch_tensorrt import unavailable

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

reason = unavailable()
if reason is not None:
    pytest.skip(reason, allow_module_level=True)

CUDA = torch.device("cuda", 0)
#: Largest error in normalised units; see `runtime.TOLERANCES`.
LARGEST = {torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 3e-2}


def on_gpu(dtype: torch.dtype) -> StagedModel:
    from support.tiny_checkpoint import tiny_config

    return make_staged(build_model(tiny_config(), seed=0).to(CUDA, dtype), embodiment=10)


@pytest.mark.parametrize("dtype", list(LARGEST))
@pytest.mark.parametrize("fp32_accumulation", [False, True])
def test_compiled_segments_compute_what_the_modules_compute(
    dtype: torch.dtype, fp32_accumulation: bool, tmp_path: Path
) -> None:
    from support.torch_tensorrt_files import files

    from groot_ros.runtime.engines.torch_tensorrt import make_engine

    options: dict[str, Any] = {"segments": SEGMENTS, "fp32_accumulation": fp32_accumulation}
    built = make_engine(on_gpu(dtype), files(tmp_path, dtype, **options))
    exact = ProgramEngine("torch", on_gpu(torch.float32), SegmentRunner(on_gpu(torch.float32)))
    for given in (
        observation(0),
        {**observation(1), **prefix(1)},
        observation(2, words=6),
        observation(0),
    ):
        expected = exact.run(given, 4).outputs["next_actions"]
        result = built.run(given, 4).outputs["next_actions"]
        assert float(np.abs(result - expected).max()) <= LARGEST[dtype]
    assert built.graph_failures == {}
    built.close()


def test_a_size_outside_the_profile_is_rejected_and_the_next_one_still_runs(tmp_path: Path) -> None:
    from support.torch_tensorrt_files import files

    from groot_ros.runtime.engines.torch_tensorrt import make_engine

    given = files(tmp_path, torch.float32, segments=SEGMENTS)
    built = make_engine(on_gpu(torch.float32), given)
    first = built.run(observation(0), 2).outputs["next_actions"]
    with pytest.raises(ValueError, match="compiled for"):
        built.run(observation(1, words=40), 2)
    np.testing.assert_array_equal(built.run(observation(0), 2).outputs["next_actions"], first)
    built.close()
