"""TensorRT's messages into Python's logging; the last errors are kept for an exception's text."""

import logging
from collections import deque

import tensorrt as trt

_LOG = logging.getLogger("groot_ros.tensorrt")
_LEVELS = {
    trt.ILogger.Severity.INTERNAL_ERROR: logging.CRITICAL,
    trt.ILogger.Severity.ERROR: logging.ERROR,
    trt.ILogger.Severity.WARNING: logging.WARNING,
    trt.ILogger.Severity.INFO: logging.DEBUG,
    trt.ILogger.Severity.VERBOSE: logging.NOTSET,
}


class Log(trt.ILogger):
    """TensorRT's logger; must outlive everything that was made with it."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self._errors: deque[str] = deque(maxlen=5)

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Called by TensorRT, from its own threads too."""
        level = _LEVELS[severity]
        if level >= logging.ERROR:
            self._errors.append(msg)
        if level:
            _LOG.log(level, "%s", msg)

    def last_error(self) -> str:
        """What TensorRT complained about last, in one line."""
        return " ".join(self._errors[-1].split()) if self._errors else "TensorRT gave no reason"
