# SPDX-License-Identifier: Apache-2.0
"""`groot-ros engine validate`: errors of engines by segment, denoising step and joint."""

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ros.cli.engine.common import (
    VALIDATED_WITH,
    add_action,
    device_of,
    directory_options,
    engine_options,
    engines_of,
    failures_of,
    open_manifest,
    open_policy,
    open_reference,
    progress_bar,
    require_writable,
)
from groot_ros.cli.observations import add_source_options, gather, require_source

if TYPE_CHECKING:
    from groot_ros.policy import Policy
    from groot_ros.runtime.manifest import Manifest
    from groot_ros.runtime.reference_outputs import ValidationResult


def add(actions: Any) -> None:
    """Add the parser of `engine validate`."""
    parser = add_action(
        actions,
        "validate",
        run,
        "report errors of engines by segment, denoising step and joint; status 1 beyond tolerance",
        "--engine-directory engines/pick --engine onnxruntime --robot so101 --json errors.json",
    )
    directory_options(parser)
    engine_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    add_source_options(parser, VALIDATED_WITH)


def run(args: argparse.Namespace) -> int:
    """Print the errors of the selected engines; return 0 if all of them validate, else 1."""
    from groot_ros.cli.engine.tables import accuracy_tables, describe, validation_line
    from groot_ros.export.accuracy import measure_accuracy
    from groot_ros.runtime.engine_benchmarks import store_benchmark

    require_source(args)
    if args.json is not None:
        require_writable("--json", args.json, directory=False)
    manifest = open_manifest(args)
    print(f"{args.engine_directory}: {describe(manifest)}")
    names = engines_of(args, manifest)
    results: dict[str, Any] = {}
    for name in names:
        with failures_of(f"engine '{name}'"), progress_bar() as show:
            candidate = open_policy(args, manifest, name, show=show)
            reference = open_reference(args, manifest, name, show)
            observations, source = gather(args, candidate)
            accuracy = measure_accuracy(
                reference,
                candidate,
                observations,
                progress=lambda fraction: show("validating", fraction),
            )
            result = _worst_result(candidate, args.engine_directory, manifest)
        reference.close()
        candidate.close()
        store_benchmark(args.engine_directory, name, result, device_of(args))
        print(f"\n{accuracy_tables(accuracy, source)}\n{validation_line(name, result)}")
        results[name] = {
            "validated": result.validated,
            "error": result.error,
            "tolerance": result.tolerance,
            "source": source,
            **accuracy.to_json(),
        }
    if args.json is not None:
        args.json.write_text(json.dumps(_finite(results), indent=2) + "\n", encoding="utf-8")
        print(f"\nfigures in {args.json}")
    return 0 if all(one["validated"] for one in results.values()) else 1


def _worst_result(policy: "Policy", directory: Path, manifest: "Manifest") -> "ValidationResult":
    """Validate all stored numbers of denoising steps and return the worst result.

    The first number was validated when the policy was loaded.
    """
    from groot_ros.runtime.reference_outputs import ReferenceOutputs

    first = policy.validation
    assert first is not None
    stored = ReferenceOutputs.load(directory, manifest)
    others = [policy.validate(stored, n, first.tolerance) for n in manifest.steps[1:]]
    # A result that did not validate counts as the worst, as its error may be NaN.
    return max((first, *others), key=lambda v: (not v.validated, v.error))


def _finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON lacks, by None."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
