# SPDX-License-Identifier: Apache-2.0
"""One engine directory of a tiny checkpoint for all tests of this folder, made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.tiny_engine import export, write_sensitive_checkpoint


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sensitive_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def engine_directory(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of all four segments in float32; not to be changed."""
    directory = tmp_path_factory.mktemp("engine")
    export(checkpoint, directory)
    return directory
