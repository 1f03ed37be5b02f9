"""A disk that refuses from some deed on, for a while or until it is mended."""

from crash_points.disk_deeds import Deed


class FailingDisk:
    """An observer that counts deeds once it is armed, and refuses `times` of them from the `first`th on."""

    def __init__(self, errno: int, *, first: int, times: int | None = None) -> None:
        self._errno, self._first, self._times = errno, first, times
        self._is_armed = False
        self.deeds = 0
        self.refused: list[Deed] = []

    def refuses(self, deed: Deed) -> int | None:
        """Refuse while it is broken."""
        if not self._is_armed:
            return None
        number, self.deeds = self.deeds, self.deeds + 1
        if number < self._first or (self._times is not None and number >= self._first + self._times):
            return None
        self.refused.append(deed)
        return self._errno

    def done(self, _deed: Deed) -> None:
        """Not of interest here."""

    def arm(self) -> None:
        """Begin to count."""
        self._is_armed = True

    def mend(self) -> None:
        """Let everything be done from now on."""
        self._is_armed = False
