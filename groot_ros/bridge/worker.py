"""A thread that is always at most one job behind."""

from collections.abc import Callable
from threading import Condition, Thread


class Worker:
    """Runs a job in a thread of its own, one at a time; nothing ever queues.

    Args:
        job: what to run.
        failed: called with what the job raised; the thread goes on.
        name: of the thread.

    """

    def __init__(
        self, job: Callable[[], None], failed: Callable[[Exception], None], name: str
    ) -> None:
        self._job = job
        self._failed = failed
        self._state = Condition()
        self._busy = False
        self._due = False
        self._ended = False
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def tick(self) -> None:
        """Run the job, unless it is running: then this tick is skipped."""
        with self._state:
            if not self._busy:
                self._due = True
                self._state.notify()

    def urge(self) -> None:
        """Run the job now, or once more as soon as the run in progress ends."""
        with self._state:
            self._due = True
            self._state.notify()

    def stop(self) -> None:
        """Begin no further run and wait for the one in progress; safe to call twice."""
        with self._state:
            self._ended = True
            self._state.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._state:
                self._busy = False
                self._state.wait_for(lambda: self._due or self._ended)
                if self._ended:
                    return
                self._due, self._busy = False, True
            try:
                self._job()
            except Exception as error:
                self._failed(error)
