"""How long a connection may be silent before somebody on the way forgets it. Pure.

A cellular network drops an idle connection without a word, after minutes or hours, each network as it
likes. Each sign of life costs data, so the longest silence that survives is looked for.
"""

FLOOR_S = 60
"""Networks that forget sooner are not worth the data that holding them would cost."""
_ROOM = 1.2
"""A keepalive this much above the pause between batches never needs a sign of life of its own."""
_LESSON = 0.75
_CREEP = 1.25
_SURVIVALS_BEFORE_CREEP, _SURVIVALS_MAX = 48, 3072
"""Silences to live through before a longer one is tried: twice as many after each one that was too long."""
_COUNTS_FROM = 0.8
"""Of the keepalive in use: shorter silences prove nothing about it."""


class Keepalive:
    """The keepalive to connect with: as long as is useful, as short as the line has taught."""

    def __init__(self, configured_s: int, *, max_s: int) -> None:
        """Begin with the configured one; `max_s` bounds what longer pauses between batches may ask for."""
        self._configured_s, self._max_s = configured_s, max(configured_s, max_s)
        self._floor_s = min(FLOOR_S, configured_s)
        self._wanted_s = configured_s
        self._survivals = 0
        self._patience = _SURVIVALS_BEFORE_CREEP
        self.learnt_s = 0
        """What the line has taught; 0 = nothing yet. To be kept across restarts."""

    @property
    def in_use_s(self) -> int:
        """Return the keepalive for the next connection."""
        return max(self._floor_s, min(self.learnt_s, self._wanted_s)) if self.learnt_s else self._wanted_s

    def suit(self, send_interval_s: float) -> None:
        """Let it be long enough for batches to be the only signs of life, where that is allowed."""
        self._wanted_s = max(self._configured_s, min(self._max_s, round(send_interval_s * _ROOM)))

    def died(self, idle_s: float) -> bool:
        """Learn that the line was found dead after a silence; True when that makes the keepalive shorter."""
        before = self.in_use_s
        self._survivals = 0
        if idle_s < self._floor_s:
            return False
        if self.learnt_s:
            self._patience = min(2 * self._patience, _SURVIVALS_MAX)
        self.learnt_s = max(self._floor_s, min(before // 2, int(idle_s * _LESSON)))
        return self.learnt_s < before

    def survived(self, idle_s: float) -> bool:
        """Learn that the line lived through a silence; True when enough of them make the keepalive longer."""
        if not self.learnt_s or idle_s < self.in_use_s * _COUNTS_FROM:
            return False
        self._survivals += 1
        if self._survivals < self._patience:
            return False
        self._survivals = 0
        longer_s = int(self.in_use_s * _CREEP)
        self.learnt_s = 0 if longer_s >= self._wanted_s else longer_s
        return True
