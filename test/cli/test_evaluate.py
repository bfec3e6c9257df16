# SPDX-License-Identifier: Apache-2.0
"""`groot-ros evaluate` with a tiny checkpoint: results, files, comparisons and wrong input."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.browser import missing_browser, open_browser
from support.dask_cluster import dask_cluster
from support.input_bags import START, image, so101_inputs, trajectory
from support.tiny_checkpoint import TAG, write_tiny_checkpoint

from groot_ros.cli.main import main
from groot_ros.core.share import robot_path
from groot_ros.robot import load_contract

SO101 = load_contract(robot_path("so101"))
ARM = SO101.controllers[0].joints


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return [
        str(write_tiny_checkpoint(folder / name, seed=seed))
        for seed, name in enumerate(("old", "new"))
    ]


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two recordings with commands of the arm."""
    folder = tmp_path_factory.mktemp("bags")
    written = []
    for number, name in enumerate(("run1", "run2")):
        sent = so101_inputs(SO101.joint_names, seconds=2.0, value=lambda i, n=number: 9 * n + i)
        motion = trajectory(0, ARM, [(0.0, [0.0] * 5), (2.0, [0.2] * 5)])
        sent.add("/arm_controller/joint_trajectory", START, motion)
        written.append(str(sent.write(folder / name)))
    return written


def evaluate(checkpoint: str, *more: str) -> int:
    own = ["--checkpoint", checkpoint, "--robot", "so101", "--embodiment", TAG]
    return main(["evaluate", *own, "--device", "cpu", "--threads", "1", "--seeds", "1", *more])


def test_results_are_printed_and_written(
    tmp_path: Path, checkpoints: list[str], bags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out"), "--json", str(tmp_path / "result.json")]
    assert evaluate(checkpoints[0], *bags, *out, "--jobs", "1") == 0
    text = capsys.readouterr().out
    assert "shoulder_pan" in text
    assert "arm_controller/joint_trajectory" in text
    assert {f.name for f in (tmp_path / "out").iterdir()} == {
        "evaluation.html",
        "evaluation.json",
        "errors.png",
    }
    result = json.loads((tmp_path / "result.json").read_text())
    assert result == json.loads((tmp_path / "out" / "evaluation.json").read_text())
    (policy,) = result["policies"]
    assert [episode["name"] for episode in policy["episodes"]] == ["run1", "run2"]
    assert [episode["places"] for episode in policy["episodes"]] == [10, 10]
    assert policy["joints"]["gripper"]["reference"] == "measured position"
    assert policy["joints"]["gripper"]["repeat"] is None
    assert policy["joints"]["elbow_flex"]["repeat"] > 0.0
    assert result["failed"] == {}


def test_the_report_is_one_file_that_loads_nothing(
    tmp_path: Path, checkpoints: list[str], bags: list[str]
) -> None:
    assert evaluate(checkpoints[0], bags[0], "--out", str(tmp_path)) == 0
    sources = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            sources.extend(value or "" for key, value in attrs if key in ("src", "href"))

    Links().feed((tmp_path / "evaluation.html").read_text())
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_result_as_this_process(
    tmp_path: Path, checkpoints: list[str], bags: list[str]
) -> None:
    pytest.importorskip("distributed")
    results = []
    (tmp_path / "cluster").mkdir()
    with dask_cluster(tmp_path / "cluster") as address:
        for where in (["--jobs", "1"], ["--dask", address]):
            file = tmp_path / "result.json"
            out = ["--out", str(tmp_path / "out"), "--json", str(file)]
            assert evaluate(checkpoints[0], *bags, *where, *out) == 0
            results.append(json.loads(file.read_text()))
            del results[-1]["times"]
    assert results[0] == results[1]


@pytest.mark.browser
@pytest.mark.slow
def test_the_report_opens_in_a_browser_without_an_error(
    tmp_path: Path, checkpoints: list[str], bags: list[str]
) -> None:
    if reason := missing_browser():
        pytest.skip(reason)
    assert evaluate(checkpoints[0], bags[0], "--out", str(tmp_path)) == 0
    with open_browser(tmp_path / "profile") as browser:
        browser.open(tmp_path / "evaluation.html")
        assert browser.run("return document.querySelectorAll('table').length") == 2
        assert browser.run("return document.querySelector('img').naturalWidth") > 800
        assert browser.run("return document.documentElement.scrollWidth") <= 1280
        assert browser.console() == []
        assert browser.loaded() == []


def test_an_interrupted_evaluation_writes_nothing(
    tmp_path: Path, checkpoints: list[str], bags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("groot_ros.evaluation.offline.predict", interrupted)
    out = ["--out", str(tmp_path / "out"), "--json", str(tmp_path / "result.json")]
    assert evaluate(checkpoints[0], bags[0], *out) == 130
    assert list(tmp_path.iterdir()) == []


def test_a_second_checkpoint_and_engine_are_compared_with_the_first(
    tmp_path: Path, checkpoints: list[str], bags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--checkpoint", checkpoints[1], "--engine", "reference", "--engine", "torch"]
    assert evaluate(checkpoints[0], bags[0], *more, "--out", str(tmp_path)) == 0
    assert "new torch compared with old reference" in capsys.readouterr().out
    result = json.loads((tmp_path / "evaluation.json").read_text())
    labels = [policy["label"] for policy in result["policies"]]
    assert labels == ["old reference", "old torch", "new reference", "new torch"]
    engines, checkpoint, _ = result["comparisons"]
    # The engines compute the same, the checkpoints do not.
    assert engines["largest"]["value"] < 1e-4
    assert checkpoint["largest"]["value"] > 5e-4
    assert checkpoint["places"] == 10
    assert len({policy["checkpoint_hash"] for policy in result["policies"]}) == 2


def test_the_report_of_an_evaluation_is_not_evaluated(
    tmp_path: Path, checkpoints: list[str], bags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run1_evaluation")
    given = (bags[0], "--out", out, "--jobs", "1", "--no-reproduction")
    assert evaluate(checkpoints[0], *given) == 0
    assert evaluate(checkpoints[0], out, *given) == 0
    assert f"left out {out}: a report, not a recording" in capsys.readouterr().err
    assert evaluate(checkpoints[0], out, "--jobs", "1", "--out", str(tmp_path / "other")) != 0


def test_a_damaged_recording_costs_no_other_one(
    tmp_path: Path, checkpoints: list[str], bags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    broken = so101_inputs(SO101.joint_names, seconds=3.0)
    broken.add("/front/image_raw", START + 2_950_000_000, image(START, 0))
    path = str(broken.write(tmp_path / "reset"))
    out = ["--out", str(tmp_path / "out")]
    assert evaluate(checkpoints[0], path, bags[0], "--jobs", "1", *out) == 1
    captured = capsys.readouterr()
    assert "reset: not evaluated: " in captured.err
    assert "go back by 2.900 s" in captured.err
    result = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert list(result["failed"]) == ["reset"]
    assert [e["name"] for e in result["policies"][0]["episodes"]] == ["run1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("wrist", "topics missing: /wrist/image_raw; recorded topics: "),
        ("joints", "'joint_states' names none of the joints of robot 'so101' but a, b"),
        ("truncate", "was not closed properly; try groot-ros bag recover"),
    ],
)
def test_a_bag_that_does_not_fit_is_one_clear_line(
    tmp_path: Path,
    checkpoints: list[str],
    change: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sent = so101_inputs(["a", "b"] if change == "joints" else SO101.joint_names, seconds=1.0)
    if change == "wrist":
        sent.sent = [each for each in sent.sent if each[1] != "/wrist/image_raw"]
    path = sent.write(tmp_path / "bag")
    if change == "truncate":
        file = next(path.glob("*.mcap"))
        file.write_bytes(file.read_bytes()[:-4000])
    assert evaluate(checkpoints[0], str(path)) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "bag_evaluation").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "0"], "--seeds must be from 1 to 1000, not 0"),
        (["--interval", "0"], "--interval must be from 0.001 to 3600 s, not 0"),
        (["--interval", "nan"], "--interval must be from"),
        (["--tolerance", "nan"], "--tolerance must be 0 or more, not nan"),
        (["--jobs", "0"], "--jobs must be at least 1, not 0"),
        (["--golden", "nowhere.json"], "--golden nowhere.json: no such file"),
        (["--json", "/nowhere/result.json"], "--json /nowhere/result.json: no such directory"),
        (["nowhere"], "nowhere: no such bag or data set"),
        (["--checkpoint", "nowhere"], "nowhere"),
        (["--engine", "none"], "none"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    checkpoints: list[str],
    bags: list[str],
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert evaluate(checkpoints[0], bags[0], *options) == 2
    error = capsys.readouterr().err
    assert error.startswith("groot-ros evaluate: ")
    assert message in error
    assert error.count("\n") == 1


def test_the_same_recording_twice_is_an_error(
    checkpoints: list[str], bags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(checkpoints[0], bags[0], bags[0]) == 2
    assert "a recording is given twice" in capsys.readouterr().err
