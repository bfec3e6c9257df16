# SPDX-License-Identifier: Apache-2.0
"""Engine "torch": the staged model in eager PyTorch."""

from groot_ros.runtime.engines import EngineKind, LoadRequest
from groot_ros.runtime.program_engine import ProgramEngine, SegmentRunner


def load(request: LoadRequest) -> ProgramEngine:
    """Load the program, with its weights packed on a CPU."""
    program = request.program()
    program.pack()
    return ProgramEngine("torch", program, SegmentRunner(program))


ENGINE = EngineKind("torch", rank=2, needs_files=False, load=load)
