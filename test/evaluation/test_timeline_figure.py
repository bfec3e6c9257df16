# SPDX-License-Identifier: Apache-2.0
"""Long runs are shown with fewer points and images, which keep what matters."""

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.core import ExecutorStatus
from groot_ros.evaluation.camera_frames import Thumbnails
from groot_ros.evaluation.execution_rows import status_spans, thinned
from groot_ros.evaluation.run_records import Chunk, ExecutorReport, RunLog
from groot_ros.evaluation.timeline_figure import timeline_figure

floats = st.floats(-1e3, 1e3) | st.just(float("nan"))


@given(values=st.lists(floats, max_size=300), most=st.integers(2, 50))
def test_a_thinned_curve_keeps_its_extremes_and_its_order(values, most) -> None:
    curve = np.stack([np.arange(len(values), dtype=float), np.array(values, dtype=float)], axis=1)
    thin = thinned(curve, most)
    assert len(thin) <= max(most, 0)
    assert np.all(np.diff(thin[:, 0]) > 0)
    known = curve[~np.isnan(curve[:, 1]), 1]
    if len(known):
        kept = thin[~np.isnan(thin[:, 1]), 1]
        assert (kept.min(), kept.max()) == (known.min(), known.max())


def test_a_long_run_of_many_joints_has_a_bounded_number_of_points() -> None:
    log = RunLog(0, 600.0)
    times = np.arange(0, 600, 0.005)
    for joint in range(26):
        log.joints[f"joint_{joint}"] = np.stack([times, np.sin(times + joint)], axis=1)
    figure = timeline_figure(log)
    assert sum(len(trace.x) for trace in figure.data) <= 240_000
    assert len({trace.yaxis for trace in figure.data}) == 26
    assert figure.layout.height < 3000


def test_the_time_until_a_change_of_status_or_reason_is_one_band() -> None:
    log = RunLog(0, 10.0)
    running, holding = ExecutorStatus.RUNNING, ExecutorStatus.HOLDING
    told = [(1.0, running, "A"), (2.0, running, "A"), (3.0, holding, "B"), (4.0, holding, "C")]
    log.reports = [ExecutorReport(*each, "", ("s", 1), "", 0.0, False) for each in told]
    assert [span[:4] for span in status_spans(log)] == [
        (1.0, 3.0, running, "A"),
        (3.0, 4.0, holding, "B"),
        (4.0, 10.0, holding, "C"),
    ]


def test_limits_are_drawn_where_the_motion_comes_near_them() -> None:
    log = RunLog(0, 1.0)
    log.joints["pan"] = np.array([[0.0, 0.0], [1.0, 1.0]])
    figure = timeline_figure(log, {"pan": (-2.0, 1.1), "lift": (0.0, 1.0)})
    assert [trace.y for trace in figure.data if trace.name == "limit"] == [(1.1, 1.1)]


def test_latencies_without_a_known_image_time_are_left_out() -> None:
    log = RunLog(0, 2.0)
    log.chunks = [Chunk(1.0, float("nan"), 1.0, 0.05, 16, "", {"head": 0.25}, ("s", 1))]
    traces = {trace.name: trace for trace in timeline_figure(log).data}
    assert traces["head"].y.tolist() == [250.0]
    assert "image to chunk" not in traces


def noise(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 255, (480, 640, 3), dtype=np.uint8)


def test_thumbnails_are_small_and_spread_over_the_run() -> None:
    thumbnails = Thumbnails(1200.0, cameras=2)
    assert len(thumbnails.times) == 500
    image = noise(np.random.default_rng(0))
    for tick in range(100):
        thumbnails.take("/front", tick * 1.0, image)
    shown = thumbnails.shown["/front"]
    # One each 2.4 s: the first image at or after each.
    assert [time for time, _ in shown[:4]] == [0.0, 3.0, 5.0, 8.0]
    data = base64.b64decode(shown[0][1].partition(",")[2])
    assert data[:2] == b"\xff\xd8"
    assert thumbnails.aspects == {"/front": pytest.approx(640 / 480)}


def test_thumbnails_that_are_too_large_together_are_thinned_out() -> None:
    thumbnails = Thumbnails(10.0, cameras=1, max_bytes=600_000)
    image = noise(np.random.default_rng(0))
    for time in thumbnails.times:
        thumbnails.take("/front", float(time), image)
    shown = thumbnails.shown["/front"]
    assert 200_000 < sum(len(uri) for _, uri in shown) <= 600_000
    assert shown[0][0] == 0.0
    assert shown[-1][0] > 9.0
