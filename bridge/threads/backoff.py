"""Exponential back-off with jitter, for retries of requests to peers."""

from random import Random

FIRST = 0.5
CAP = 30.0


def delay(attempt: int, first: float = FIRST, cap: float = CAP) -> float:
    """Return the longest wait before try ``attempt`` (from 0): seconds, doubling up to the cap."""
    # The cap applies long before 2**63; much larger powers would overflow a float.
    return min(cap, first * float(1 << min(attempt, 63)))


class Backoff:
    """Capped exponential delays with full jitter: each uniform in ``[0, delay(attempts)]``.

    Full jitter spreads callers that failed together, so that they do not come back together
    (AWS Architecture Blog, "Exponential Backoff And Jitter"). Owned by one thread.
    """

    def __init__(
        self, first: float = FIRST, cap: float = CAP, random: Random | None = None
    ) -> None:
        self.first = first
        self.cap = cap
        self.attempts = 0
        self._random = random or Random()  # noqa: S311 — jitter, not a secret

    def __repr__(self) -> str:
        return f"<Backoff {self.attempts} attempts>"

    def next(self) -> float:
        """Return the seconds to wait before the next try, and count the attempt."""
        ceiling = delay(self.attempts, self.first, self.cap)
        self.attempts += 1
        return self._random.uniform(0.0, ceiling)

    def reset(self) -> None:
        """Start again from the first delay, after a success."""
        self.attempts = 0
