# SPDX-License-Identifier: Apache-2.0
"""From received inputs to chunks: buffers, synchronisation, input health, inference loop."""
