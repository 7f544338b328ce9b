"""Decide which task to poll, and when. Pure: the caller passes the time.

Every request takes a place in the key's window, so a poll that comes too early costs a submit. The agenda learns how
long tasks take (`Durations`), and polls the task that has probably been finished for the longest time.
"""

from batchswap.polling.durations import Durations
from batchswap.polling.in_flight_limit import Capacity
from batchswap.polling.schedule import Agenda
from batchswap.polling.ticks import TickAgenda

__all__ = ["Agenda", "Capacity", "Durations", "TickAgenda"]
