"""One job at a time, nothing queued, nothing lost when it is urgent."""

from threading import Event

import pytest

from groot_ros.bridge.worker import Worker

PATIENCE = 10.0


class Job:
    """Waits to be let go, once per run; `began` and `ended` are set again by each run."""

    def __init__(self):
        self.runs = 0
        self.began, self.go, self.ended = Event(), Event(), Event()
        self.error = None

    def __call__(self):
        self.runs += 1
        self.began.set()
        assert self.go.wait(PATIENCE)
        self.go.clear()
        self.ended.set()
        if self.error is not None:
            raise self.error

    def has_begun(self):
        assert self.began.wait(PATIENCE)
        self.began.clear()

    def finish(self):
        self.go.set()
        assert self.ended.wait(PATIENCE)
        self.ended.clear()


@pytest.fixture
def setting():
    job, failures = Job(), []
    worker = Worker(job, failures.append, "worker under test")
    yield worker, job, failures
    job.go.set()
    worker.stop()


def test_ticks_during_a_run_are_skipped(setting):
    worker, job, _ = setting
    worker.tick()
    job.has_begun()
    for _ in range(5):
        worker.tick()
    job.finish()
    worker.stop()
    assert job.runs == 1


def test_an_urgent_request_during_a_run_is_served_once_right_after_it(setting):
    worker, job, _ = setting
    worker.tick()
    job.has_begun()
    worker.urge()
    worker.urge()
    job.finish()
    job.has_begun()
    job.finish()
    worker.stop()
    assert job.runs == 2


def test_requests_one_after_the_other_each_get_their_run(setting):
    worker, job, _ = setting
    for _ in range(3):
        worker.urge()
        job.has_begun()
        job.finish()
    assert job.runs == 3


def test_stop_waits_for_the_run_in_progress_and_begins_no_other(setting):
    worker, job, _ = setting
    worker.tick()
    job.has_begun()
    worker.urge()
    job.go.set()
    worker.stop()
    assert (job.runs, job.ended.is_set()) == (1, True)
    worker.stop()
    worker.urge()
    assert job.runs == 1


def test_a_job_that_raises_is_reported_and_the_thread_goes_on(setting):
    worker, job, failures = setting
    job.error = ValueError("broken")
    worker.tick()
    job.has_begun()
    job.finish()
    job.error = None
    worker.urge()
    job.has_begun()
    job.finish()
    assert [str(f) for f in failures] == ["broken"]
