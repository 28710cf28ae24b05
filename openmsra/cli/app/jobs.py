"""Work for a visitor: it says how far it is, has an end, and can be stopped from another thread."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class StoppedError(Exception):
    """The work was stopped or has taken too long; no error of an input, which inferencers would take for a broken file."""


class Job:
    """One piece of work.

    Args:
        seconds: after which it ends.
        report: called with the share that is done, in [0, 1], and a text.
    """

    def __init__(self, seconds: float = float('inf'), report: Callable[[float, str], None] | None = None) -> None:
        self.end, self.seconds, self.report = time.monotonic() + seconds, seconds, report
        self.share = 0.0
        self._stop = threading.Event()

    def stop(self) -> None:
        """Ask for the end; the work notices at its next step."""
        self._stop.set()

    def step(self, share: float | None = None, text: str = '') -> None:
        """To be called often.

        Raises:
            StoppedError: it is over.
        """
        if self._stop.is_set():
            raise StoppedError('Stopped.')
        if time.monotonic() > self.end:
            raise StoppedError(
                f'Stopped after {self.seconds:.0f} seconds, the limit of this server (--max-seconds). Send less at once.'
            )
        if self.report is not None and share is not None:
            self.share = min(max(share, self.share), 1.0)  # a bar does not run back
            self.report(self.share, text)


class Sessions:
    """The running jobs of each visitor."""

    def __init__(self) -> None:
        self._jobs: dict[str, set[Job]] = defaultdict(set)
        self._lock = threading.Lock()

    @contextmanager
    def running(self, session: str, job: Job) -> Iterator[Job]:
        """Know a job as long as it runs."""
        with self._lock:
            self._jobs[session].add(job)
        try:
            yield job
        finally:
            with self._lock:
                self._jobs[session].discard(job)
                if not self._jobs[session]:
                    del self._jobs[session]

    def stop(self, session: str) -> int:
        """Stop what runs for a visitor; how many jobs that were."""
        with self._lock:
            jobs = list(self._jobs.get(session, ()))
        for job in jobs:
            job.stop()
        return len(jobs)
