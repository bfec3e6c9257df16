# SPDX-License-Identifier: Apache-2.0
"""Validate and time every engine on a GPU: full-size models, random bfloat16 weights.

    python -m benchmarks gpu                          # about five minutes on a data-centre GPU
    python -m benchmarks gpu --engines torch cuda_graph --rounds 50
    python -m benchmarks gpu --device cpu --size tiny # tries the command itself

Needs torch, numpy, safetensors, tokenizers and tqdm only: no ROS, no checkpoint, no installation.
Weights are drawn on the device. One stage of one model (backbone, or head with 4 denoising steps)
and one engine are in memory at a time.

Each engine's result is compared with the reference model in float32 with the same weights and
inputs. The error is relative: for the head to the largest distance of an action from its noise (in
a trained model about 1, the unit of a manifest's tolerance), for the backbone to the largest
feature. The tolerance is the one that `groot-ros engine export` stores in a manifest: that of the
precision, or twice the error of the reference model in that precision if it is larger. The command
returns status 1 if an engine exceeds it.

    max error    see above
    compile s    time until the first result: compilation, or recording of the CUDA graph
    ms           median time of a run, with a wait for the device after each
    memory GB    largest memory that torch allocated, weights included
    limit ms     time to read the weights and tables of a run once per use at the bandwidth of the
                 device, from its memory clock and bus width, or measured where these are unknown
    x limit      ms / limit ms

$OUT (default ./out) receives the table as gpu.md and all figures as gpu.json.
"""

from benchmarks.gpu.report import main

__all__ = ["main"]
