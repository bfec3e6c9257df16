"""From received inputs to chunks: buffers, synchronisation, input health, inference loop."""
