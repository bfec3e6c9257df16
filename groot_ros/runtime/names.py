"""The words of the runtime, for those too who must not wait for torch."""

#: Of the fast form, in the order in which they run.
STAGES = ("vision", "language", "context", "denoise")
#: "torch" is the exact fast form, "plain" the model as written: the measure of all others.
ENGINES = ("torch", "cuda_graph", "onnxruntime", "tensorrt", "plain")
#: Engines that run exported files.
FROM_FILES = ("onnxruntime", "tensorrt")
#: Of exported weights and tensors.
PRECISIONS = ("float32", "bfloat16", "float16")
#: What products of an exported stage can be stored in.
QUANTISED = ("int8", "fp8")
