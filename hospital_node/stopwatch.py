"""CPU seconds of this thread inside `with`, for the figures only: nothing is ever decided by it."""

from __future__ import annotations

import time


class Stopwatch:
    def __init__(self) -> None:
        self._spent = self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.thread_time()

    def __exit__(self, *error: object) -> None:
        self._spent += time.thread_time() - self._began

    def lap(self) -> float:
        """The seconds since it was asked last."""
        spent, self._spent = self._spent, 0.0
        return spent
