# SPDX-License-Identifier: Apache-2.0
"""Compare this package with golden sets: python test/parity.py DIR...

Prints the largest absolute difference per tensor, and of every set one of

    PASS     every tensor is within its tolerance
    FAIL     a tensor is not, or the set is broken or of an unknown format
    SKIP     nothing could be compared on this machine, with the reason (no tokenizer)
    UNKNOWN  the set is of a model that this version does not have, with its name

DIR is one set, or a folder of sets, nested or not. A set may lack intermediate values and those of
training; its line then lists what was not compared, and which of its arrays were not read. Without
its main values (actions, features, pixels, tokens) it fails. The exit status is 1 on any FAIL and
if no set passed: what was not compared never counts as passed. Tolerances in float32: 1e-5 on
normalised quantities, 1e-5 x max(1, half the range of the statistics) on decoded actions, none on
token ids, pixels and masks; values that are not finite must be equal at the same places.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from golden.arrays import BrokenSetError, GoldenSet, summarise
from golden.comparison import UnavailableError
from golden.formats import format_of, name_of, sets_in, what_is_missing
from golden.other_models import other_model

OUTCOMES = ("PASS", "SKIP", "UNKNOWN", "FAIL")
LACKING, UNREAD = "not compared, as sets lack them", "not read"


@torch.no_grad()
def check(folder: Path) -> Counter[str]:
    """Print all comparisons of one set; return its outcome and the numbers of skipped arrays."""
    module = format_of(folder)
    if module is None:
        other = other_model(folder)
        if other is not None:
            print(f"UNKNOWN {folder}: a set of {other}, a model that this version does not have\n")
            return Counter(UNKNOWN=1)
        print(f"FAIL {folder}: not a golden set of a known format: {what_is_missing(folder)}\n")
        return Counter(FAIL=1)
    print(f"{folder} ({name_of(module)})")
    source = GoldenSet(folder)
    passed, whole, count, worst = True, True, 0, 0.0
    try:
        for result in module.comparisons(source):
            print(result)
            passed &= result.passed
            count += 1
            worst = max(worst, result.difference)
    except UnavailableError as reason:
        print(f"  SKIP  the rest: {reason}")
        whole = False
    outcome = ("PASS" if count else "SKIP") if passed else "FAIL"
    lacking, unread = source.lacking, source.unread if whole else {}
    summary = f"{count} tensors, largest difference {worst:.2e}"
    summary += f"; not compared, as the set lacks it: {summarise(lacking)}" if lacking else ""
    summary += f"; not read: {summarise(unread)}" if unread else ""
    print(f"{outcome} {folder}: {summary}\n")
    return Counter({outcome: 1, LACKING: _count(lacking), UNREAD: _count(unread)})


def _count(found: Mapping[str, Sequence[str]]) -> int:
    return sum(map(len, found.values()))


def check_all(folder: Path) -> Counter[str]:
    """Count the outcomes on every set in a folder; one that cannot be read fails in one line."""
    outcomes: Counter[str] = Counter()
    if not folder.is_dir():
        print(f"FAIL {folder}: no such folder\n")
        return Counter(FAIL=1)
    others: list[Path] = []
    for each in sets_in(folder):
        try:
            if any(other in each.parents for other in others) and format_of(each) is None:
                continue
            found = check(each)
            outcomes += found
            others += [each] * found["UNKNOWN"]
        except BrokenSetError as error:
            print(f"FAIL {each}: {error}\n")
            outcomes["FAIL"] += 1
        except Exception as error:  # one broken set must not stop the comparison of the others
            print(f"FAIL {each}: {type(error).__name__}: {' '.join(str(error).split())}\n")
            outcomes["FAIL"] += 1
    if not outcomes:
        print(f"FAIL {folder}: contains no golden set\n")
        outcomes["FAIL"] = 1
    return outcomes


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=_folder, nargs="+", help="a golden set, or a folder of sets")
    counts: Counter[str] = Counter()
    for folder in parser.parse_args(arguments).folder:
        counts += check_all(folder)
    failed = bool(counts["FAIL"] or not counts["PASS"])
    total = ", ".join(f"{counts[name]} {name}" for name in OUTCOMES if counts[name])
    rest = "".join(f"; {name}: {counts[name]}" for name in (LACKING, UNREAD) if counts[name])
    print(f"{'FAIL' if failed else 'PASS'}: {total}{rest}")
    return int(failed)


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("the name is empty; use '.' for the current folder")
    return Path(text)


if __name__ == "__main__":
    sys.exit(main())
