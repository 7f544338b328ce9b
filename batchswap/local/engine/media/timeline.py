"""One continuous clock for clips whose own clock restarts, such as joined recordings or switched broadcasts.

FFmpeg's own program does the same for transport streams (`ts_discontinuity_process` in fftools/ffmpeg_demux.c).
"""

from fractions import Fraction
from typing import Any

from av.packet import Packet

BACK = Fraction(1, 10)
"""Seconds. In a format whose clock may restart, a larger step back is a restart."""
FAR_BACK = Fraction(1)
"""The same for other formats. A smaller step back is a wrong time stamp, which the writer corrects."""
AHEAD = Fraction(10)
"""Seconds. In a format whose clock may restart, a larger step beyond the end of all tracks is a restart, not a gap."""


class Timeline:
    """Moves packets, in the order of the file, to one continuous clock.

    All tracks share one shift, so picture and sound stay together. Near a restart, packets of both clocks are mixed:
    each track then changes to the new shift with its own first packet that needs it.
    """

    def __init__(self, *, restarts: bool) -> None:
        """`restarts`: whether the clock of this format may restart, as in transport streams."""
        self._restarts = restarts
        self._newest = Fraction(0)
        self._shifts: dict[int, Fraction] = {}
        self._last: dict[int, Fraction] = {}
        self.end: Fraction | None = None
        """End of the last packet on the continuous clock, in seconds."""

    def place(self, packet: "Packet[Any]") -> None:
        """Shift the packet's time stamps, if it has any."""
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
        """Return the shift for a packet with these times by its own clock."""
        if self._follows(track, coded + now):
            return now
        if not self._follows(track, coded + self._newest):
            self._newest = (self.end or Fraction(0)) - shown
        return self._newest

    def _follows(self, track: int, time: Fraction) -> bool:
        """Return whether a packet of the track can have this time without a restart."""
        last = self._last.get(track)
        if last is not None and time < last - (BACK if self._restarts else FAR_BACK):
            return False
        return not self._restarts or self.end is None or time <= self.end + AHEAD
