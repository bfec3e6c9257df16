"""Whether TensorRT can run here, found out without touching TensorRT itself.

Deserialising an engine on a machine without a CUDA driver crashes the process (segmentation
fault), so the driver is asked first.
"""

import ctypes
import importlib.util

from groot_ros.runtime.errors import TensorRtError

#: What JetPack 6.2 brings; below 10 the Python API is another one.
OLDEST = (10, 3)

_DRIVER = "libcuda.so.1"


def unavailable() -> str | None:
    """Why TensorRT cannot run here, in one line; None if it can."""
    return _no_package() or _no_driver() or _torch_without_cuda() or _old_version()


def require() -> None:
    """Raise TensorRtError with the reason of `unavailable`."""
    reason = unavailable()
    if reason is not None:
        raise TensorRtError(reason)


def installed_version() -> str:
    """As TensorRT says it, such as "10.13.3.9"; raises TensorRtError where it cannot run."""
    require()
    import tensorrt

    return tensorrt.__version__


def version_numbers(version: str) -> tuple[int, ...]:
    """From "10.13.3.9" to (10, 13, 3, 9); a suffix that is no number ends it."""
    numbers: list[int] = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def _no_package() -> str | None:
    if importlib.util.find_spec("tensorrt") is not None:
        return None
    return (
        "TensorRT's Python package 'tensorrt' is not installed: on a Jetson apt's "
        "python3-libnvinfer and a virtual environment with --system-site-packages, elsewhere "
        "pip install tensorrt"
    )


def _no_driver() -> str | None:
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return f"there is no CUDA driver here ({_DRIVER} does not load): TensorRT needs a GPU"
    status, count = driver.cuInit(0), ctypes.c_int()
    status = status or driver.cuDeviceGetCount(ctypes.byref(count))
    if status:
        return f"the CUDA driver does not start (CUDA error {status}): see nvidia-smi or dmesg"
    return None if count.value else "the CUDA driver sees no GPU"


def _torch_without_cuda() -> str | None:
    import torch

    if torch.cuda.is_available():
        return None
    return (
        f"torch {torch.__version__} does not see the GPU: TensorRT runs on torch's buffers, "
        "so install the build of torch for this CUDA (docs/how-to/jetson.md)"
    )


def _old_version() -> str | None:
    try:
        import tensorrt
    except ImportError as error:
        return f"TensorRT's Python package does not load: {error}"
    if version_numbers(tensorrt.__version__) >= OLDEST:
        return None
    oldest = ".".join(map(str, OLDEST))
    return f"TensorRT {tensorrt.__version__} is too old: {oldest} (JetPack 6.2) or newer is needed"
