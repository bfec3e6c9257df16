"""How far a build is, from TensorRT's nested phases."""

from collections.abc import Callable
from threading import Lock

import tensorrt as trt

#: Called with the name of the outermost phase and the fraction of its steps that is done.
Report = Callable[[str, float], None]


class Progress(trt.IProgressMonitor):
    """Reports the outermost phase only; Ctrl-C ends the build at the next step.

    TensorRT calls it from several threads.
    """

    def __init__(self, report: Report) -> None:
        trt.IProgressMonitor.__init__(self)
        self._report = report
        self._lock = Lock()
        self._steps: dict[str, int] = {}
        self.interrupted = False

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """A phase without a parent is an outermost one."""
        if parent_phase is None:
            with self._lock:
                self._steps[phase_name] = max(num_steps, 1)
            self._say(phase_name, 0.0)

    def phase_finish(self, phase_name: str) -> None:
        """Done, whether or not every step was seen."""
        with self._lock:
            outermost = self._steps.pop(phase_name, None) is not None
        if outermost:
            self._say(phase_name, 1.0)

    def step_complete(self, phase_name: str, step: int) -> bool:
        """False asks TensorRT to stop the build."""
        with self._lock:
            steps = self._steps.get(phase_name)
        if steps is not None:
            self._say(phase_name, min((step + 1) / steps, 1.0))
        return not self.interrupted

    def _say(self, phase: str, fraction: float) -> None:
        # An exception must not travel through TensorRT's C++ frames.
        try:
            self._report(phase, fraction)
        except KeyboardInterrupt:
            self.interrupted = True
