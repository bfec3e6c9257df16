"""The model at full size, random weights, two views of 252 x 252: time of every stage and engine.

    python -m benchmarks.inference
    python -m benchmarks.inference --horizons 16 --parts head --rounds 9
    python -m benchmarks.inference --engines reference onnxruntime --device cpu
    python -m benchmarks.inference --against my_module:measure

One part of the model (backbone, or head with 4 denoising steps) and two implementations of it are
in memory at a time, and they are timed in turn, A B A B: what else runs on the machine slows
both. Engine "torch" is the exact fast form and is always measured, stage by stage.

    x torch      median of the ratios of neighbouring runs; "torch / it" is the other way round
    GB           weights, keys and tables that one run reads; denoising reads its own every step
    floor        what the machine could do it in: the larger of bytes over its measured bandwidth
                 and operations over its measured speed in products of matrices
    share        floor over time; above 100 % the machine was busy when it was measured
    difference   largest, from engine "torch" with the same weights and inputs, absolute

Engine "onnxruntime" is exported first, which takes minutes and as much disk as the weights.
TensorRT is measured where it can be built: `groot-ros engine make`, then `engine benchmark`.

--against names a function FACTORY(part, case) of an importable MODULE. It returns a callable
without arguments that runs this part ("backbone" or "head") once, on inputs of its own, and waits
until it is done. `case` is a `Case`: it says config, device, dtype, token ids, image sizes, number
of denoising steps and seed.
"""

from benchmarks.inference.report import main

__all__ = ["main"]
