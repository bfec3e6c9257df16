# SPDX-License-Identifier: Apache-2.0
"""Progress of reading a bag."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Message = TypeVar("Message")


def tracked(messages: Iterable[Message], label: str, total: int) -> Iterator[Message]:
    """Iterate with a progress bar; where the output is not a terminal, print one line instead."""
    options = {"desc": label, "total": total, "unit": " messages", "leave": False}
    # disable=None: no bar where the output is not a terminal.
    with tqdm(messages, file=sys.stderr, disable=None, **options) as bar:
        if bar.disable:
            print(f"{label}: {total:,} messages", file=sys.stderr)
        yield from bar
