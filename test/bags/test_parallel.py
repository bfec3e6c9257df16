# SPDX-License-Identifier: Apache-2.0
"""Calls for many episodes, in processes and on a real Dask cluster; workers that die."""

import os
from collections.abc import Iterator
from functools import partial

import pytest
from support.dask_cluster import dask_cluster
from support.episode_calls import die_always, die_once, end_worker, square

from groot_ros.bags.parallel import map_episodes


@pytest.fixture(params=["processes", "dask"])
def where(request: pytest.FixtureRequest) -> dict[str, object]:
    """Return the arguments of map_episodes for local processes, and for a Dask cluster."""
    if request.param == "processes":
        return {"jobs": 2}
    return {"dask": request.getfixturevalue("cluster")}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dask_cluster(tmp_path_factory.mktemp("dask")) as address:
        yield address


def test_values_keep_the_order_and_failures_are_reported_alone(where, capsys) -> None:
    results = map_episodes(square, range(6), names=[f"run{i}" for i in range(6)], **where)
    assert [result.value for result in results] == [0, 1, 4, None, None, 25]
    assert [result.failed for result in results] == [False] * 3 + [True] * 2 + [False]
    assert results[3].error == "episode 3 has no images"
    assert results[3].traceback == ""
    assert results[4].error == "ZeroDivisionError: a bug"
    assert 'raise ZeroDivisionError("a bug")' in results[4].traceback
    shown = capsys.readouterr().err
    assert "run3: episode 3 has no images\n" in shown
    assert "run5\n" in shown


def test_a_worker_that_dies_loses_no_episode(where, tmp_path, capsys) -> None:
    # Several times: the dead worker may still have the result of another episode, or not.
    for name in "abcd":
        folder = tmp_path / name
        folder.mkdir()
        results = map_episodes(partial(die_once, folder), range(8), **where)
        assert [result.value for result in results] == [(i, 2 if i == 2 else 1) for i in range(8)]
        assert (folder / "killed").exists()


def test_an_episode_that_always_kills_its_worker_fails_alone(where) -> None:
    results = map_episodes(die_always, range(4), **where)
    assert [result.value for result in results] == [0, None, 2, 3]
    assert "died (out of memory?)" in results[1].error


def test_one_job_calls_in_this_process() -> None:
    (result,) = map_episodes(lambda _: os.getpid(), ["only"], jobs=1)
    assert result.value == os.getpid()


def test_no_job_is_rejected() -> None:
    with pytest.raises(ValueError, match="must be at least 1, not 0"):
        map_episodes(square, [1], jobs=0)


def test_a_path_that_a_worker_does_not_have_is_reported_before_any_call(cluster, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"has no .*/missing: all workers must see the same files"):
        map_episodes(square, [1], dask=cluster, paths=[tmp_path, tmp_path / "missing"])


def test_an_address_without_a_scheduler_is_reported_with_what_to_start(monkeypatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("groot_ros.bags.parallel.CONNECT_TIMEOUT", 1)
    with pytest.raises(ValueError, match=r"no Dask scheduler at 'tcp://127.0.0.1:9'.*dask sched"):
        map_episodes(square, [1], dask="tcp://127.0.0.1:9")


def test_a_cluster_that_lost_all_workers_ends_the_command_with_a_clear_error(
    tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr("groot_ros.bags.parallel.WORKERS_TIMEOUT", 1)
    with dask_cluster(tmp_path, workers=1) as address:
        results = map_episodes(end_worker, range(3), dask=address)
    assert [result.error for result in results] == [
        "the cluster had no worker for 1 s: start one, then try again"
    ] * 3
    assert f"{address} has lost all workers: waiting 1 s for one" in capsys.readouterr().err
