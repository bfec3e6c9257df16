# SPDX-License-Identifier: Apache-2.0
"""Time of every stage and engine at full model size: random weights, two views of 252 x 252.

    python -m benchmarks.inference
    python -m benchmarks.inference --horizons 16 --parts head --rounds 9
    python -m benchmarks.inference --engines reference onnxruntime --device cpu
    python -m benchmarks.inference --family gr00t_n1d5
    python -m benchmarks.inference --against my_module:measure

Only one stage of the model (backbone, or head with 4 denoising steps) and two implementations of it
are in memory at a time. They are timed in turn, A B A B, so that other load on the machine slows
both. Engine "torch" runs the exact staged model; it is always measured, also segment by segment.

    whole        sum of the medians of both stages
    x torch      median ratio of this engine's time to that of "torch"; "torch / it" is the inverse
    GB           weights, keys and tables that one run reads; every denoising step reads its own
    bandwidth    floor: bytes / measured bandwidth
    arithmetic   floor: operations / measured speed of matrix products
    share        larger floor of each segment / time; above 100 % the machine was busy when its
                 speed was measured
    difference   largest absolute difference from engine "torch" with the same weights and inputs

Baselines, unless --engines is given: "eager" is the reference model with the vocabulary head that
published code computes and discards, "reference" the same without that head, "compiled" the
reference model under torch.compile with frozen weights (where a C++ compiler is installed).

Engine "onnxruntime" is exported first, which takes minutes and as much disk space as the weights.
TensorRT is measured separately, where it can be built: `groot-ros engine make`, then
`groot-ros engine benchmark`.

--against names a function FACTORY(part, case) of an importable MODULE. It returns a callable
without arguments that runs this part ("backbone" or "head") once on inputs that FACTORY created,
and waits until it is done. `case` is a `BenchmarkCase`: it has config, device, dtype, token_ids,
image_sizes, steps and seed.
"""

from benchmarks.inference.report import main

__all__ = ["main"]
