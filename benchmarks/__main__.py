"""Run every benchmark, or those named: `python -m benchmarks executor_jitter`."""

import importlib
import platform
import sys
from datetime import date

#: In the order of the README's table.
BENCHMARKS = ("observation_path", "executor_jitter", "continuity", "limits")


def main() -> None:
    """Print the machine, then one table a benchmark."""
    chosen = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in chosen if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"no benchmark '{unknown[0]}'; there are: {', '.join(BENCHMARKS)}")
    print(f"{date.today()}  {platform.machine()}  Python {platform.python_version()}", flush=True)
    for name in chosen:
        print(f"\n== {name} ==", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
