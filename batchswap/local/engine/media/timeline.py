"""One time for a clip whose clock starts again: recordings put end to end, broadcasts that were switched.

FFmpeg's own program does the like for its transports (`ts_discontinuity_process` in fftools/ffmpeg_demux.c).
"""

from fractions import Fraction
from typing import Any

from av.packet import Packet

BACK = Fraction(1, 10)
"""Seconds: where a clock may start again, a larger step back means that it did; no coding order goes back in time."""
FAR_BACK = Fraction(1)
"""The same where it ought not to: smaller steps are mistakes of a stamp, and are left to the writer."""
AHEAD = Fraction(10)
"""Seconds beyond all that was seen of any track, where a clock may start again. A smaller gap is one of the clip."""


class Timeline:
    """Moves packets, in the order of the file, to their place on one clock.

    One shift is shared by picture and sound, so they stay together; but near a restart, packets of the old clock and
    of the new one come mixed, and each track takes the new shift with its own first packet that needs it.
    """

    def __init__(self, *, restarts: bool) -> None:
        """`restarts`: whether this kind of file may start its clock again, as transport streams do."""
        self._restarts = restarts
        self._newest = Fraction(0)
        self._shifts: dict[int, Fraction] = {}
        self._last: dict[int, Fraction] = {}
        self.end: Fraction | None = None
        """Seconds at which the last of it ends."""

    def place(self, packet: "Packet[Any]") -> None:
        """Change the packet's stamps; one without any keeps none."""
        unit, track = packet.time_base, packet.stream.index
        shown = packet.dts if packet.pts is None else packet.pts
        if shown is None or not unit:
            return
        shift = self._shifts.get(track, self._newest)
        if packet.dts is not None:
            shift = self._shifts[track] = self._shift(track, packet.dts * unit, shown * unit, shift)
            packet.dts += round(shift / unit)
            self._last[track] = packet.dts * unit
        if packet.pts is not None:
            packet.pts += round(shift / unit)
        end = shown * unit + shift + (packet.duration or 0) * unit
        self.end = end if self.end is None else max(self.end, end)

    def _shift(self, track: int, coded: Fraction, shown: Fraction, now: Fraction) -> Fraction:
        """For a packet that has these times by its own clock."""
        if self._follows(track, coded + now):
            return now
        if not self._follows(track, coded + self._newest):
            self._newest = (self.end or Fraction(0)) - shown
        return self._newest

    def _follows(self, track: int, time: Fraction) -> bool:
        """Whether a packet of the track may come at that time."""
        last = self._last.get(track)
        if last is not None and time < last - (BACK if self._restarts else FAR_BACK):
            return False
        return not self._restarts or self.end is None or time <= self.end + AHEAD
