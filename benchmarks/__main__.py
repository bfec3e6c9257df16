"""Run the benchmarks, or those named: `python -m benchmarks executor_jitter`.

The slow ones run only when they are named, or with `--all`.
"""

import importlib
import platform
import sys
from datetime import date

#: In the order of the README's table.
BENCHMARKS = ("preprocessing", "observation_path", "executor_jitter", "continuity", "limits")
#: Minutes; load and inference need gigabytes of memory, load of disk, too.
SLOW = ("inference", "load", "rtc_in_the_loop")


def main() -> None:
    """Print the machine, then one table a benchmark."""
    every = (*BENCHMARKS, *SLOW)
    chosen = every if sys.argv[1:] == ["--all"] else tuple(sys.argv[1:]) or BENCHMARKS
    unknown = [name for name in chosen if name not in every]
    if unknown:
        sys.exit(f"no benchmark '{unknown[0]}'; there are: {', '.join(every)}")
    print(f"{date.today()}  {platform.machine()}  Python {platform.python_version()}", flush=True)
    for name in chosen:
        print(f"\n== {name} ==", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
