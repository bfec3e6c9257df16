# SPDX-License-Identifier: Apache-2.0
"""Fixture for folders that run tiny networks: import it in their conftest.py."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Run torch on one thread: more do not speed up tiny tensors and load the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
