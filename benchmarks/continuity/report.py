"""The tables and the pictures."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.continuity.execution import Run, execute
from benchmarks.continuity.figures import HEADER, row
from benchmarks.continuity.picture import draw
from benchmarks.continuity.policies import SYNTHETIC, Source, recorded
from benchmarks.continuity.senders import METHODS
from benchmarks.continuity.stream import Stream
from groot_ros.evaluation.table import format_table
from groot_ros.sim.controllers import RULES, Distro

#: Whose controller the pictures show, and the tables of one controller alone.
DISTRO: Distro = "jazzy"
OWN = ("this executor", "this executor, RTC")


def every_method(source: Source, distro: Distro, streams: Sequence[Stream]) -> dict[str, list[Run]]:
    """Runs of each method, one a stream."""
    return {
        name: [execute(make, source, distro, stream) for stream in streams]
        for name, make in METHODS.items()
    }


def show(title: str, runs: dict[str, list[Run]]) -> None:
    """One table."""
    print(f"\n{title}")
    print(format_table(["", *HEADER], [[name, *row(each)] for name, each in runs.items()]))


def latencies(source: Source, streams: Callable[[float], Sequence[Stream]]) -> dict[str, list[Run]]:
    """Runs of this executor alone, from no latency to one that no budget allows."""
    return {
        f"{name}, {1e3 * latency:.0f} ms": [
            execute(METHODS[name], source, DISTRO, stream) for stream in streams(latency)
        ]
        for latency in (0.0, 0.1, 0.2, 0.3, 0.4)
        for name in OWN
    }


def draw_disagreeing(runs: dict[str, list[Run]], pictures: Path) -> None:
    """The first run of each method through the synthetic policy."""
    title = f"{DISTRO}: chunks that disagree by 20 mrad, latency 100 ± 40 ms, servo lag 50 ms"
    firsts = {name: each[0] for name, each in runs.items()}
    draw(firsts, pictures / "continuity.png", title, (2.0, 4.0))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables and draw the streams that disagree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.continuity")
    parser.add_argument("--seeds", type=int, default=10, help="runs of each kind (%(default)s)")
    parser.add_argument("--pictures", type=Path, default=Path("out"), help="folder (%(default)s)")
    options = parser.parse_args(arguments)
    seeds = range(options.seeds)
    for distro in RULES:
        runs = every_method(SYNTHETIC, distro, [Stream(seed=seed) for seed in seeds])
        show(f"{distro}: sigma 20 mrad, latency 100 +- 40 ms, servo lag 50 ms", runs)
        if distro == DISTRO:
            draw_disagreeing(runs, options.pictures)
    for distro in RULES:
        agreeing = every_method(SYNTHETIC, distro, [Stream(jitter=0.0, sigma=0.0)])
        show(f"{distro}: oracle chunks, latency 100 ms, servo lag 50 ms", agreeing)
    show(
        f"{DISTRO}, sigma 20 mrad, jitter 40 ms, every tenth chunk lost",
        latencies(SYNTHETIC, lambda t: [Stream(latency=t, loss=0.1, seed=s) for s in seeds]),
    )
    runs = every_method(recorded(), DISTRO, [Stream(seed=seed) for seed in seeds[:3]])
    show(f"{DISTRO}, recorded from the simulator, latency 100 +- 40 ms, servo lag 50 ms", runs)
    title = "chunks of the demo checkpoint, latency 100 ± 40 ms, servo lag 50 ms"
    firsts = {name: each[0] for name, each in runs.items()}
    draw(firsts, options.pictures / "continuity_recorded.png", title, (3.0, 6.0))
    show(
        f"{DISTRO}, recorded, jitter 40 ms, every tenth chunk lost",
        latencies(recorded(), lambda t: [Stream(latency=t, loss=0.1, seed=s) for s in seeds[:3]]),
    )
    print(f"\npictures: {options.pictures}/continuity.png, continuity_recorded.png")
