# SPDX-License-Identifier: Apache-2.0
"""Run torch on one thread."""

from support.torch_threads import one_thread

__all__ = ["one_thread"]
