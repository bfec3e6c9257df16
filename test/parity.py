"""Compares this package with golden directories: python test/parity.py DIR...

Prints the largest absolute difference per tensor and PASS or FAIL; exits 1 on any FAIL. DIR is one
set, or a folder of sets. What cannot be run here (no tokenizer) is printed as SKIP with the reason.
Tolerances in float32: 1e-5 on normalised quantities, 1e-5 x max(1, half the range of the
statistics) on decoded actions, none on token ids, pixels and masks.
"""

import argparse
import sys
from pathlib import Path

import torch
from golden.comparison import UnavailableError
from golden.formats import format_of, name_of, sets_in, what_is_missing


@torch.no_grad()
def check(folder: Path) -> bool:
    """Print all comparisons of one set; True where none failed."""
    module = format_of(folder)
    if module is None:
        print(f"FAIL {folder}: not a golden set of a known format: {what_is_missing(folder)}\n")
        return False
    print(f"{folder} ({name_of(module)})")
    passed, count, worst = True, 0, 0.0
    try:
        for result in module.comparisons(folder):
            print(result)
            passed &= result.passed
            count += 1
            worst = max(worst, result.difference)
    except UnavailableError as reason:
        print(f"  SKIP  the rest: {reason}")
    verdict = ("PASS" if count else "SKIP") if passed else "FAIL"
    print(f"{verdict} {folder}: {count} tensors, largest difference {worst:.2e}\n")
    return passed


def check_all(folder: Path) -> bool:
    """Every set in a folder; one that cannot be read fails in one line."""
    if not folder.is_dir():
        print(f"FAIL {folder}: no such folder\n")
        return False
    found = list(sets_in(folder))
    if not found:
        print(f"FAIL {folder}: holds no golden set\n")
    passed = bool(found)
    for each in found:
        try:
            passed &= check(each)
        except (ValueError, KeyError, RuntimeError, OSError) as error:
            print(f"FAIL {each}: {type(error).__name__}: {error}\n")
            passed = False
    return passed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="+", help="a golden set, or a folder of sets")
    passed = [check_all(folder) for folder in parser.parse_args(arguments).folder]
    print("PASS" if all(passed) else "FAIL")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
