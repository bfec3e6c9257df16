# SPDX-License-Identifier: Apache-2.0
"""Golden sets of single normalisers and conversions of rotations of GR00T N1.5."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from golden.arrays import GoldenSet
from golden.comparison import TOLERANCE, Comparison, compare
from groot_ros.families.gr00t_n1d5.columns import MODES, NEEDS, ONE_WAY, Scheme
from groot_ros.families.gr00t_n1d5.rotations import convert

FILES = ("normalizer_units.json", "normalizer_units.safetensors")


def belongs(folder: Path) -> bool:
    """Return True: no other model has sets with these files."""
    return True


def comparisons(source: GoldenSet) -> Iterator[Comparison]:
    statistics = {k: np.array(v, dtype=np.float64) for k, v in source.json(FILES[0]).items()}
    golden = source.tensors(FILES[1])
    x, y = (golden[name].double().numpy() for name in ("x", "y"))
    for mode in MODES:
        if not mode or f"{mode}.forward" not in golden:
            continue
        scheme = Scheme(mode, *(statistics[name] for name in NEEDS.get(mode, ())))
        yield compare(f"{mode}.forward", scheme.limit(scheme.scale(x)), golden[f"{mode}.forward"])
        if mode not in ONE_WAY:
            yield from golden.optional(f"{mode}.inverse", scheme.inverse(y))
    for name in sorted(name for name in golden if name.endswith(".in")):
        stem = name.removesuffix(".in")
        _, first, _, second = stem.split(".")
        given = golden[name].double().numpy()
        out = convert(given, first, second)
        yield compare(f"{stem}.out", out, golden[f"{stem}.out"], TOLERANCE * max(1, np.pi))
        back = convert(golden[f"{stem}.out"].double().numpy(), second, first)
        key = f"{stem}.inverse_of_out"
        if golden.has(key):
            yield compare(key, back, golden[key], TOLERANCE * np.pi)
