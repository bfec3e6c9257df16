# SPDX-License-Identifier: Apache-2.0
"""An engine directory with options of the engine "torch_tensorrt" for the tiny staged model."""

from pathlib import Path
from typing import Any

import torch

from groot_ros.core.program import Range
from groot_ros.families.gr00t_n1d6.program import SEGMENTS
from groot_ros.runtime.device import dtype_name
from groot_ros.runtime.engines import EngineFiles
from groot_ros.runtime.torch_tensorrt.options import CompileOptions
from support.manifests import manifest

PROFILE = {
    "views": Range(1, 2, 2),
    "patches": Range(16, 16, 36),
    "cells": Range(4, 4, 9),
    "tokens": Range(9, 14, 64),
    "text_tokens": Range(1, 6, 32),
    "image_tokens": Range(8, 8, 17),
    "all_tokens": Range(9, 14, 64),
    "states": Range(1, 1, 1),
}


def files(folder: Path, dtype: torch.dtype = torch.float32, **options: Any) -> EngineFiles:
    """Return a directory with a manifest; `options` as in `CompileOptions`, all segments."""
    given = CompileOptions(**{"segments": SEGMENTS, **options})
    changes: dict[str, Any] = {"profile": PROFILE, "torch_tensorrt": given, "rounding": 0.0}
    return EngineFiles(folder, manifest(folder, precision=dtype_name(dtype), **changes))
