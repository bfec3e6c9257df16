"""Where the weights go and in which precision."""

import torch

_DTYPES = {
    "float32": torch.float32,
    "fp32": torch.float32,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
}
DTYPES = ("auto", *_DTYPES)


def choose_device(name: str) -> torch.device:
    """By name, or "auto": the first GPU, else the CPU. Raises ValueError where there is none."""
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device '{name}' is not one that torch knows") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device '{name}' was asked for but torch sees no CUDA device")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device '{name}' was asked for, torch sees {torch.cuda.device_count()}")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """By name, or "auto": bfloat16 on a GPU, else float32."""
    return _DTYPES.get(name, torch.bfloat16 if device.type == "cuda" else torch.float32)


def in_words(device: torch.device) -> str:
    """Such as "cpu" or "cuda:0 (name of the GPU)"."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)
