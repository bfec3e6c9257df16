"""How chunks come in the benchmark, and whose controller its picture shows."""

import pytest

from benchmarks.continuity import report
from benchmarks.continuity.stream import Stream
from groot_ros.sim.controllers import RULES


@pytest.mark.parametrize(
    ("stream", "budget"),
    [
        (Stream(), (6, 6)),
        (Stream(latency=0.0, jitter=0.0), (1, 6)),
        (Stream(latency=0.3), (12, 12)),
    ],
)
def test_a_stream_has_the_step_budget_of_its_worst_delay(stream: Stream, budget) -> None:
    assert stream.budget == budget


def test_the_picture_is_of_the_distribution_that_it_names(tmp_path, monkeypatch, capsys) -> None:
    drawn = {}
    monkeypatch.setattr(report, "every_method", lambda source, distro, _: {distro: [source]})
    monkeypatch.setattr(report, "latencies", lambda *_: {})
    monkeypatch.setattr(report, "show", lambda *_: None)
    monkeypatch.setattr(
        report, "draw", lambda runs, path, title, _: drawn.update({path.name: (runs, title)})
    )
    report.main(["--seeds", "1", "--pictures", str(tmp_path)])
    assert list(RULES) == ["jazzy", "humble"]
    runs, title = drawn["continuity.png"]
    assert list(runs) == ["jazzy"]
    assert title.startswith("jazzy: ")
