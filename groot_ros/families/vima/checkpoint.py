# SPDX-License-Identifier: Apache-2.0
"""Read VIMA checkpoints, public ones and directories of this package, and write directories.

A public checkpoint is one pickled file with `cfg` and `state_dict`; only tensors and plain
containers are accepted from it, never code. A directory has config.json, model.safetensors and
tokenizer.json. Nothing is downloaded.

    python -m groot_ros.families.vima.checkpoint 20M.ckpt out/20M --tokenizer t5-base/tokenizer.json

converts a public checkpoint into a directory.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from groot_ros.checkpoint.mistakes import require_data
from groot_ros.checkpoint.safetensors_file import index_checkpoint
from groot_ros.checkpoint.weights import write_tensors
from groot_ros.core.config_reader import CheckpointError, Fields, unreadable
from groot_ros.families.vima.config import MODEL_TYPE, VimaConfig
from groot_ros.families.vima.config_from_weights import merged, sizes_in_weights
from groot_ros.families.vima.network import Vima
from groot_ros.families.vima.prompt import PromptTokenizer

#: Tensors of public checkpoints that are not used: causal masks and numbers of positions, and the
#: word table of T5, which is fed with embeddings.
_UNUSED = re.compile(
    r"xattn_gpt\.(h\.\d+\.attn\.bias|(xattn_)?position_ids|xattns\.\d+\.kv_position_ids)"
    r"|t5_prompt_encoder\.t5\.(shared|encoder\.embed_tokens)\.weight"
)
_PREFIX = "policy."
_SHOWN = 5


def load_network(path: Path, device: torch.device | str = "cpu") -> Vima:
    """Load a network in eval mode, in float32.

    Args:
        path: a public .ckpt file, or a directory with config.json and model.safetensors.
        device: device of the weights.

    Raises:
        CheckpointError: a file is missing or malformed, or tensors are missing, unexpected,
            misshapen or not finite.
        ImportError: transformers is not installed.

    """
    stated, where, tensors = _content(path)
    return network_of(stated, {name: read() for name, (read, _) in tensors.items()}, where, device)


def read_shapes(path: Path) -> tuple[VimaConfig, dict[str, tuple[int, ...]]]:
    """Return the configuration of a checkpoint, and the shapes of its tensors by name.

    Of a directory only the headers of the weight files are read.

    Raises:
        CheckpointError: a file is missing or malformed, or tensors do not fit the configuration.

    """
    stated, where, tensors = _content(path)
    shapes = {name: shape for name, (_, shape) in tensors.items()}
    config = _config_of(stated, shapes, where)
    expected = {name: tuple(t.shape) for name, t in _weights(empty_network(config)).items()}
    _require_fitting(where, expected, shapes)
    return config, {name: shapes[name] for name in expected}


#: Reads a tensor, and its shape.
_Tensors = dict[str, tuple[Callable[[], Tensor], tuple[int, ...]]]


def _content(path: Path) -> tuple[Mapping[str, Any], Path, _Tensors]:
    """Return the stated configuration, the file to name in errors, and the tensors by name."""
    if path.is_dir():
        stated = Fields.read(path / "config.json")
        stated.expect("model_type", MODEL_TYPE, None)
        entries = index_checkpoint(path)
        return (
            stated.value,
            path / "config.json",
            {name: (entry.read, entry.shape) for name, entry in entries.items()},
        )
    content = _unpickled(path)
    for key in ("cfg", "state_dict"):
        if not isinstance(content, Mapping) or not isinstance(content.get(key), Mapping):
            raise CheckpointError(
                f"{path}: has no '{key}'; a VIMA checkpoint is a dictionary of cfg and state_dict"
            )
    tensors: _Tensors = {
        n.removeprefix(_PREFIX): (partial(_same, t), tuple(t.shape))
        for n, t in content["state_dict"].items()
    }
    return content["cfg"], path, tensors


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _config_of(
    stated: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], where: Path
) -> VimaConfig:
    return VimaConfig.parse(Fields(merged(sizes_in_weights(shapes), stated), str(where)))


def network_of(
    stated: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    where: Path,
    device: torch.device | str = "cpu",
) -> Vima:
    """Return the network of a configuration and its weights.

    Args:
        stated: keys of the configuration; sizes that are missing are taken from the tensors.
        tensors: weights by name, without the prefix "policy.".
        where: file named in errors.
        device: device of the weights.

    Raises:
        CheckpointError: see `load_network`.

    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    network = empty_network(_config_of(stated, shapes, where))
    expected = {name: tuple(t.shape) for name, t in _weights(network).items()}
    _require_fitting(where, expected, shapes)
    state = network.state_dict()
    for name in state:
        if name not in expected:
            state[name] = torch.zeros(state[name].shape, device=device)
        else:
            _require_finite(where, name, tensors[name])
            # A copy: the tensors of a file may be views of it.
            state[name] = tensors[name].to(device=device, dtype=torch.float32, copy=True)
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(False).eval()


def empty_network(config: VimaConfig) -> Vima:
    """Return a network without memory for its weights (on device "meta")."""
    with torch.device("meta"):
        return Vima(config)


def random_network(config: VimaConfig, seed: int) -> Vima:
    """Return a network with random weights in eval mode; equal seeds give equal weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Vima(config).requires_grad_(False).eval()


def save_network(network: Vima, directory: Path, tokenizer: PromptTokenizer | None = None) -> None:
    """Write config.json, model.safetensors and, if it is given, tokenizer.json."""
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(network.config.to_json(), indent=2)
    (directory / "config.json").write_text(text + "\n", encoding="utf-8")
    tensors = {n: t.detach().cpu().contiguous() for n, t in _weights(network).items()}
    write_tensors(tensors, directory / "model.safetensors")
    if tokenizer is not None:
        tokenizer.write(directory / "tokenizer.json")


def _weights(network: Vima) -> dict[str, Tensor]:
    """Return the tensors that a checkpoint must have."""
    return {n: t for n, t in network.state_dict().items() if not _UNUSED.fullmatch(n)}


def _require_fitting(
    where: Path,
    expected: Mapping[str, tuple[int, ...]],
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    missing = sorted(expected.keys() - shapes.keys())
    unexpected = sorted(n for n in shapes.keys() - expected.keys() if not _UNUSED.fullmatch(n))
    problems = [
        f"{len(names)} {what}: {', '.join(names[:_SHOWN])}"
        + (" ..." if len(names) > _SHOWN else "")
        for what, names in (("missing", missing), ("unexpected", unexpected))
        if names
    ]
    if problems:
        raise CheckpointError(f"{where}: tensors do not fit the sizes: {'; '.join(problems)}")
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise CheckpointError(
                f"{where}: '{name}' has shape {list(shapes[name])}, the sizes require {list(shape)}"
            )


def _require_finite(where: Path, name: str, tensor: Tensor) -> None:
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise CheckpointError(f"{where}: '{name}' is {kind}; weights must be floating point")
    if tensor.numel() and not all(torch.isfinite(v) for v in torch.aminmax(tensor)):
        raise CheckpointError(f"{where}: '{name}' holds values that are not finite")


def _unpickled(path: Path) -> Any:
    try:
        require_data(path)
    except FileNotFoundError:
        raise CheckpointError(f"checkpoint {path}: no such file or directory") from None
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        # weights_only: a file with anything but tensors and plain containers is rejected.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f" ({found[1]})" if found else ""
        raise CheckpointError(
            f"{path}: holds more than tensors and plain values{what}, so it is not read: load it "
            "where you trust it, and save {'cfg': dict, 'state_dict': tensors} again"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(
            f"{path}: is truncated or not a PyTorch checkpoint: {reason}; download it again"
        ) from error


def main(arguments: list[str] | None = None) -> int:
    """Convert a public checkpoint into a directory."""
    parser = argparse.ArgumentParser(
        prog="python -m groot_ros.families.vima.checkpoint", description=main.__doc__
    )
    parser.add_argument("checkpoint", type=Path, help="public .ckpt file")
    parser.add_argument("out", type=Path, help="directory to write")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json of T5, which is copied")
    given = parser.parse_args(arguments)
    try:
        tokenizer = PromptTokenizer.load(given.tokenizer) if given.tokenizer else None
        save_network(load_network(given.checkpoint), given.out, tokenizer)
    except (CheckpointError, ImportError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{given.out}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
