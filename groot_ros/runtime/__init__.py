"""How programs are executed: engines, their files, validation and selection.

Importable without torch; `engine_names` lists the engines without importing any.
"""

from groot_ros.core.config import module_names

#: What an option or parameter may name besides an engine: the fastest that is validated here.
AUTO = "auto"
#: Of exported weights and tensors.
PRECISIONS = ("float32", "bfloat16", "float16")
#: Element types that matrix products of an exported segment can be stored in.
QUANTISED = ("int8", "fp8")
#: How exported files express attention: as products and a softmax, or as one operator.
ATTENTION = ("math", "fused")


def engine_names() -> tuple[str, ...]:
    """Return the names of all engines: the modules of `runtime.engines`."""
    return module_names("runtime/engines")
