# SPDX-License-Identifier: Apache-2.0
"""Run the quick benchmarks, the named ones, or all with `--all`.

python -m benchmarks
python -m benchmarks limits continuity
python -m benchmarks executor_jitter --seconds 5      # options need exactly one named benchmark
"""

import importlib
import platform
import sys
from collections.abc import Sequence
from datetime import date
from itertools import takewhile

#: In the order of the README's table.
QUICK = ("preprocessing", "observation_path", "executor_jitter", "continuity", "limits")
#: These take minutes; load and inference need gigabytes of memory, load also of disk space.
SLOW = (
    "executor_load",
    "sim_time",
    "inference",
    "load",
    "rtc_in_the_loop",
    "publisher_conflicts",
    "camera_shift",
    "operator",
    "delay_and_mode",
    "prompt_tasks",
    "conversion",
    "offline_evaluation",
    "recording",
    "motion_planning",
)
#: Not part of `--all`: needs a GPU.
SEPARATE = ("gpu",)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the machine, then run each benchmark."""
    chosen, options = _parse(list(sys.argv[1:] if arguments is None else arguments))
    print(f"{date.today()}  {platform.machine()}  Python {platform.python_version()}", flush=True)
    for name in chosen:
        print(f"\n== {name} ==", flush=True)
        status = importlib.import_module(f"benchmarks.{name}").main(options)
        if status:
            sys.exit(status)


def _parse(arguments: list[str]) -> tuple[Sequence[str], list[str]]:
    """Return the names of the benchmarks to run, and the options of a single named one."""
    every = (*QUICK, *SLOW)
    if arguments == ["--all"]:
        return every, []
    names = list(takewhile(lambda word: not word.startswith("-"), arguments))
    options = arguments[len(names) :]
    known = (*every, *SEPARATE)
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"unknown benchmark '{unknown[0]}'; choose from {', '.join(known)}")
    if options and len(names) != 1:
        sys.exit(f"{options[0]}: options need exactly one benchmark, named before them")
    return names or QUICK, options


if __name__ == "__main__":
    main()
