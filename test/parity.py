"""Compares this package with golden directories: python test/parity.py DIR...

Prints the largest absolute difference per tensor, and of every set one of

    PASS     every tensor is within its tolerance
    FAIL     one is not, or the set is broken or of a format that is not recognised
    SKIP     nothing could be compared here, and why (no tokenizer)
    UNKNOWN  the set is of a model that this version does not have, which is named

DIR is one set, or a folder of sets. The exit status is 1 on any FAIL, and where no set passed:
what was not compared never counts as passed. Tolerances in float32: 1e-5 on normalised quantities,
1e-5 x max(1, half the range of the statistics) on decoded actions, none on token ids, pixels and
masks.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import torch
from golden.comparison import UnavailableError
from golden.formats import format_of, name_of, sets_in, what_is_missing
from golden.other_models import other_model

VERDICTS = ("PASS", "SKIP", "UNKNOWN", "FAIL")


@torch.no_grad()
def check(folder: Path) -> str:
    """Print all comparisons of one set, and return its verdict."""
    module = format_of(folder)
    if module is None:
        other = other_model(folder)
        if other is not None:
            print(f"UNKNOWN {folder}: a set of {other}, a model that this version does not have\n")
            return "UNKNOWN"
        print(f"FAIL {folder}: not a golden set of a known format: {what_is_missing(folder)}\n")
        return "FAIL"
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
    return verdict


def check_all(folder: Path) -> Counter[str]:
    """Verdicts on every set in a folder; one that cannot be read fails in one line."""
    verdicts: Counter[str] = Counter()
    if not folder.is_dir():
        print(f"FAIL {folder}: no such folder\n")
        return Counter(FAIL=1)
    for each in sets_in(folder):
        try:
            verdicts[check(each)] += 1
        except (ValueError, KeyError, RuntimeError, OSError) as error:
            print(f"FAIL {each}: {type(error).__name__}: {error}\n")
            verdicts["FAIL"] += 1
    if not verdicts:
        print(f"FAIL {folder}: holds no golden set\n")
        verdicts["FAIL"] = 1
    return verdicts


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="+", help="a golden set, or a folder of sets")
    verdicts: Counter[str] = Counter()
    for folder in parser.parse_args(arguments).folder:
        verdicts += check_all(folder)
    failed = bool(verdicts["FAIL"] or not verdicts["PASS"])
    counts = ", ".join(f"{verdicts[name]} {name}" for name in VERDICTS if verdicts[name])
    print(f"{'FAIL' if failed else 'PASS'}: {counts}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
