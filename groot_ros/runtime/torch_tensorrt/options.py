# SPDX-License-Identifier: Apache-2.0
"""Options of the engine "torch_tensorrt", stored in the manifest of an engine directory."""

from dataclasses import dataclass

from groot_ros.core.config_reader import Fields
from groot_ros.runtime import QUANTISED


@dataclass(frozen=True)
class CompileOptions:
    """Segments that Torch-TensorRT compiles, and its settings.

    Attributes:
        segments: segments to compile; PyTorch executes the others.
        explicit_typing: every tensor keeps the type that it has in PyTorch. Otherwise the weights
            are float32, and TensorRT may choose kernels of the manifest's precision.
        fp32_accumulation: matrix products of half precision accumulate in float32.
        quantise: "int8" or "fp8" if products are quantised, else empty.
        quantised: segments whose products are quantised.
        optimisation_level: 0 (quick) to 5 (thorough).
        workspace_bytes: largest scratch memory of a kernel; 0 for all free memory.

    """

    segments: tuple[str, ...]
    explicit_typing: bool = True
    fp32_accumulation: bool = False
    quantise: str = ""
    quantised: tuple[str, ...] = ()
    optimisation_level: int = 3
    workspace_bytes: int = 0

    def make_options(self, *, exported: bool) -> dict[str, object]:
        """Return the options of `groot-ros engine make` that give these, by name.

        Args:
            exported: whether the engine directory also has exported segments.

        """
        return {
            "engine": ("torch_tensorrt", *(("onnxruntime",) if exported else ())),
            "no_explicit_typing": not self.explicit_typing,
            "fp32_accumulation": self.fp32_accumulation,
            "quantise": self.quantise,
            "quantised_segments": self.quantised,
            "optimisation_level": self.optimisation_level,
        }

    @classmethod
    def parse(cls, f: Fields) -> "CompileOptions":
        """Read the fields from JSON; raises CheckpointError that names the key."""
        quantise = f.text("quantise")
        if quantise not in ("", *QUANTISED):
            raise f.error("quantise", f"must be one of {', '.join(QUANTISED)} or empty")
        return cls(
            segments=f.items("segments", str),
            explicit_typing=f.flag("explicit_typing"),
            fp32_accumulation=f.flag("fp32_accumulation"),
            quantise=quantise,
            quantised=f.items("quantised", str),
            optimisation_level=f.integer("optimisation_level", at_least=0),
            workspace_bytes=f.integer("workspace_bytes", at_least=0),
        )
