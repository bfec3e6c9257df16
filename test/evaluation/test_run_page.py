# SPDX-License-Identifier: Apache-2.0
"""The page of a run shows what the bag has, says what it lacks, and works in a browser."""

import json
import math
from array import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rclpy.serialization import serialize_message
from rclpy.time import Time
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Header, String
from support.browser import Browser, missing_browser, open_browser
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from groot_ros.bags.episode import Outcome, describe_recording
from groot_ros.cli.main import main
from groot_ros.core.share import robot_path
from groot_ros.evaluation.run_log import read_run
from groot_ros.msg import (
    ActionChunk,
    ActionGroup,
    CommittedTimeline,
    ExecutorState,
    Instruction,
    PolicyStatus,
    RejectionCount,
    StageDuration,
)

Send = Callable[..., Path]
JOINTS = ["pan", "lift"]
HOSTILE = '</script><script>document.title = "x"</script><b>bold</b>'


def header(seconds: float) -> Header:
    return Header(stamp=Time(seconds=seconds).to_msg())


def image(level: int) -> Image:
    data = array("B", bytes([level, 80, 160]) * (48 * 64))
    return Image(height=48, width=64, encoding="rgb8", step=3 * 64, data=data)


def joint_state(seconds: float, position: float) -> JointState:
    return JointState(header=header(seconds), name=JOINTS, position=[position, -position])


def chunk(number: int, seconds: float) -> ActionChunk:
    group = ActionGroup(name="arm", names=JOINTS, units=["rad", "m"], values=[0.0] * 32)
    return ActionChunk(
        header=header(seconds - 0.08),
        start=Time(seconds=seconds).to_msg(),
        dt=0.05,
        horizon=16,
        id=number,
        session="s",
        groups=[group],
        stages=[StageDuration(name="backbone", seconds=0.02), StageDuration(name="head")],
    )


def timeline(number: int, seconds: float) -> CommittedTimeline:
    rows = [value for i in range(20) for value in (0.01 * i, -0.01 * i)]
    return CommittedTimeline(
        header=header(seconds),
        start=Time(seconds=seconds).to_msg(),
        dt=0.05,
        session="s",
        chunk_id=number,
        joint_names=JOINTS,
        positions=rows,
        velocities=[0.0] * len(rows),
    )


def executor_state(number: int, *, status: int, code: str, too_old: int) -> ExecutorState:
    return ExecutorState(
        status=status,
        reason_code=code,
        reason=HOSTILE,
        session="s",
        chunk_id=number,
        chunk_age=0.1,
        joint_names=JOINTS,
        splice_discontinuity=[0.01, -0.02],
        limited_chunks=[0, 0],
        accepted=number,
        rejections=[RejectionCount(code="too_old", count=100 + too_old)],
    )


def run_messages() -> list:
    """Return a run of 4 s that has everything that a page shows."""
    sent = [("/active_instruction", 0.5, Instruction(text=HOSTILE))]
    sent += [("/policy_status", t, PolicyStatus()) for t in (0.5, 1.0)]
    rejections = [RejectionCount(code="stale_image", count=3)]
    sent += [("/policy_status", 2.0, PolicyStatus(rejections=rejections))]
    for i in range(80):
        sent.append(("/joint_states", i / 20, joint_state(i / 20, math.sin(i / 10))))
    for i in range(40):
        for view in ("front", "wrist"):
            sent.append((f"/{view}/image_raw", i / 10, image(6 * i)))
    for i in range(1, 13):
        seconds = 0.7 + 0.25 * i
        sent.append(("/action_chunk", seconds, chunk(i, seconds)))
        if i != 5:
            sent.append(("/committed_timeline", seconds + 0.01, timeline(i, seconds)))
        status, code = (1, "EXECUTING") if i < 12 else (3, "OPERATOR_HOLD")
        state = executor_state(i, status=status, code=code, too_old=i // 5)
        sent.append(("/executor_state", seconds + 0.02, state))
    return sorted(sent, key=lambda each: each[1])


def page_of(bag: Path) -> str:
    assert main(["report", str(bag)]) == 0
    return (bag.with_name("bag_report") / "report.html").read_text(encoding="utf-8")


def notes_of(page: str) -> str:
    return page.partition('<ul class="notes">')[2].partition("</ul>")[0]


def data_of(page: str) -> dict:
    begin = page.index('id="run-data">') + len('id="run-data">')
    return json.loads(page[begin : page.index("</script>", begin)])


def test_the_page_has_the_events_of_the_run_at_their_times(bag_of: Send, capsys) -> None:
    bag = bag_of(run_messages())
    log = read_run(bag)
    events = [(round(r.time, 2), r.node, r.code, r.count) for r in log.rejections]
    assert events == [
        (1.97, "executor", "too_old", 1),
        (2.0, "policy", "stale_image", 3),
        (3.22, "executor", "too_old", 1),
    ]
    page = page_of(bag)
    data = data_of(page)
    assert notes_of(page) == ""
    assert [camera["topic"] for camera in data["cameras"]] == [
        "/front/image_raw",
        "/wrist/image_raw",
    ]
    assert [len(camera["images"]) for camera in data["cameras"]] == [39, 39]
    assert [round(begin, 2) for begin, _ in data["statuses"]] == [0.97, 3.72]
    assert data["statuses"][1][1] == f"HOLDING: {HOSTILE}"
    # Chunk 5 was never executed.
    assert [round(time - 0.71, 2) for time in data["splices"]] == [
        0.25 * i for i in range(1, 13) if i != 5
    ]
    facts = page.partition('<dl class="facts">')[2].partition("</dl>")[0]
    assert "<dt>chunks rejected</dt><dd>2</dd>" in facts
    assert "<dt>observations rejected</dt><dd>3</dd>" in facts
    assert "<dt>image to chunk p50 / p95</dt><dd>80.0 / 80.0 ms</dd>" in facts


def test_the_page_says_what_the_bag_lacks(bag_of: Send, capsys) -> None:
    page = page_of(bag_of([("/joint_states", t / 10, joint_state(t / 10, 0.1)) for t in range(9)]))
    notes = notes_of(page)
    for missing in (
        "No camera topic was recorded",
        "No chunks were recorded",
        "No committed motion was recorded",
        "No state of an executor was recorded",
        "No status of a policy was recorded",
    ):
        assert missing in notes
    assert "joint states" not in notes
    assert "pan [rad]" in page
    assert "NaN" not in page.partition("</style>")[2].partition("plotly.js")[0]


def test_a_topic_of_another_type_is_left_out_and_named(bag_of: Send, capsys) -> None:
    sent = [("/joint_states", 0.0, String(data="x")), ("/robot/action_chunk", 1.0, String())]
    notes = notes_of(page_of(bag_of(sent)))
    assert "/joint_states has the type std_msgs/msg/String instead of sensor_msgs" in notes
    assert "/robot/action_chunk has the type std_msgs/msg/String instead of groot_ros" in notes
    assert "/joint_states has the type" in capsys.readouterr().err


def test_disordered_and_repeated_stamps_are_sorted_and_counted(bag_of: Send, capsys) -> None:
    stamps = [0.0, 0.2, 0.1, 0.3, 0.3]
    sent = [("/joint_states", i / 10, joint_state(s, float(i))) for i, s in enumerate(stamps)]
    bag = bag_of(sent)
    log = read_run(bag)
    assert [(round(t, 2), p) for t, p in log.joints["pan"]] == [
        (0.0, 0.0),
        (0.1, 2.0),
        (0.2, 1.0),
        (0.3, 4.0),
    ]
    notes = notes_of(page_of(bag))
    assert "2 positions with a stamp before the last: sorted" in notes
    assert "2 positions with repeated stamps: they are left out" in notes


@pytest.mark.parametrize("offset", [-1e6, 1e6])
def test_stamps_of_another_clock_are_replaced_by_the_reception(bag_of: Send, offset) -> None:
    begin = 2e6
    sent = []
    for topic, seconds, message in run_messages():
        if topic in ("/joint_states", "/action_chunk", "/committed_timeline"):
            stamp = message.header.stamp
            stamp.sec += int(begin + offset)
            if topic != "/joint_states":
                message.start.sec += int(begin + offset)
        sent.append((topic, begin + seconds, message))
    log = read_run(bag_of(sent))
    assert log.joints["pan"][:3, 0].round(6).tolist() == [0.0, 0.05, 0.1]
    assert log.timelines[0].start == pytest.approx(0.96)
    assert all(math.isnan(c.t_obs) for c in log.chunks)
    assert sorted(repair.split()[0] for repair in log.repairs) == [
        "/action_chunk",
        "/committed_timeline",
        "/joint_states",
    ]


def test_a_bag_written_by_a_python_program_with_empty_sequences_is_read(bag_of: Send) -> None:
    # rclpy appends bytes for the empty velocities and efforts.
    message = joint_state(1.0, 0.25)
    assert len(serialize_message(message)) % 8 == 4
    assert read_run(bag_of([("/joint_states", 1.0, message)])).joints["pan"].tolist() == [
        [0.0, 0.25]
    ]


def test_trajectories_are_the_commands_of_a_bag_without_an_executor(bag_of: Send) -> None:
    point = JointTrajectoryPoint(positions=[0.5])
    point.time_from_start.nanosec = 500_000_000
    sent = [("/arm/joint_trajectory", 0.0, JointTrajectory(joint_names=["pan"], points=[point]))]
    sent += [("/joint_states", t / 10, joint_state(t / 10, 0.1)) for t in range(11)]
    page = page_of(bag_of(sent))
    assert '"name":"commanded"' in page
    assert '"name":"committed"' not in page


def test_outcome_robot_and_limits_are_those_in_the_bag(bag_of: Send, capsys) -> None:
    # The upper limit of shoulder_pan is 1.92 rad.
    sent = [
        (
            "/joint_states",
            t,
            JointState(header=header(t), name=["shoulder_pan"], position=[t * 1.9]),
        )
        for t in (0.0, 1.0)
    ]
    info = replace(describe_recording(robot_path("so101")), outcome=Outcome.FAILURE)
    page = page_of(bag_of(sent, info))
    assert "robot so101" in page
    assert '<div class="fact warn"><dt>outcome</dt><dd>failure</dd></div>' in page
    assert page.count('"name":"limit"') == 1


def test_a_contract_in_the_bag_that_cannot_be_read_is_a_note(bag_of: Send, capsys) -> None:
    info = replace(describe_recording(robot_path("so101")), contract="robot: so101")
    page = page_of(bag_of([("/joint_states", 1.0, joint_state(1.0, 0.0))], info))
    assert "Joint limits are not drawn: " in notes_of(page)


def test_a_bag_whose_clock_was_reset_is_refused(bag_of: Send, capsys) -> None:
    times = [0.0, 5.0, 9.0, 1.0, 2.0]
    bag = bag_of([("/joint_states", t, joint_state(t, 0.0)) for t in times])
    assert main(["report", str(bag)]) == 2
    assert "goes back by 8.000 s in the messages of /joint_states" in capsys.readouterr().err
    assert not bag.with_name("bag_report").exists()


def test_the_page_can_be_written_elsewhere(bag_of: Send, tmp_path: Path, capsys) -> None:
    bag = bag_of([("/joint_states", 1.0, joint_state(1.0, 0.0))])
    assert main(["report", str(bag), "--html", str(tmp_path / "x.html")]) == 0
    assert (tmp_path / "x.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert not (tmp_path / "bag_report" / "report.html").exists()
    assert main(["report", str(bag), "--html", str(tmp_path / "none" / "x.html")]) == 2
    assert f"there is no directory {tmp_path / 'none'}" in capsys.readouterr().err


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if reason := missing_browser():
        pytest.skip(reason)
    with open_browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.browser
@pytest.mark.slow
def test_in_a_browser_all_rows_share_the_time_axis_and_the_images_follow(
    bag_of: Send, browser: Browser, capsys
) -> None:
    bag = bag_of(run_messages())
    page_of(bag)
    browser.open(bag.with_name("bag_report") / "report.html")
    assert browser.run("return document.title") == f"Run {bag.parent.name}/bag"
    # Every row is on the x axis of the figure, so zooming one zooms all.
    axes = "return [...new Set(document.getElementById('run').data.map((t) => t.xaxis))]"
    assert browser.run(axes) == ["x"]
    rows = browser.run(
        "return [...new Set(document.getElementById('run').data.map((t) => t.yaxis))]"
    )
    assert len(rows) == 9
    assert browser.run("return document.documentElement.scrollWidth") <= 1280

    shown = "return [...document.querySelectorAll('.cursor-panel img')].map((i) => i.src)"
    before = browser.run(shown)
    assert [source[:15] for source in before] == ["data:image/jpeg"] * 2
    browser.run("Plotly.relayout('run', {'xaxis.range': [1.0, 1.4]})")
    clock = float(browser.run("return document.querySelector('.cursor-text b').textContent")[:-2])
    # The cursor was outside of what is shown.
    assert clock == pytest.approx(1.2)
    assert browser.run(shown) != before
    ticks = browser.run(
        "return [...document.querySelectorAll('.ruler span')].map((s) => s.innerText)"
    )
    assert all(1.0 <= float(tick) <= 1.4 for tick in ticks)
    titles = browser.run("return [...document.querySelectorAll('.strip img')].map((i) => i.title)")
    assert {title for title in titles if title} == {"1.00 s", "1.10 s", "1.20 s", "1.30 s"}
    # Text of the bag is shown as it is.
    text = browser.run("return document.querySelector('.cursor-text').innerText")
    assert HOSTILE in text
    assert browser.console() == []
    assert browser.loaded() == []


@pytest.mark.browser
@pytest.mark.slow
def test_in_a_browser_an_almost_empty_bag_and_a_pathological_text_have_no_error(
    bag_of: Send, browser: Browser, capsys
) -> None:
    bag = bag_of([("/front/image_raw", 0.0, image(9)), ("/note", 1.0, String(data=HOSTILE))])
    page_of(bag)
    browser.open(bag.with_name("bag_report") / "report.html")
    assert len(browser.run("return [...document.querySelectorAll('.strip img')]")) > 0
    assert browser.console() == []


@pytest.mark.browser
def test_the_console_of_the_browser_is_read(tmp_path: Path, browser: Browser) -> None:
    page = tmp_path / "broken.html"
    page.write_text("<script>undefinedFunction()</script>", encoding="utf-8")
    browser.open(page)
    (message,) = browser.console()
    assert "undefinedFunction is not defined" in message
