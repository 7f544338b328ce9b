"""What is due next. Pure: told the time, it never sleeps and never asks anyone.

Every request takes a place in the key's window, so a poll that comes too early costs a submit. The agenda learns how
long tasks take (`Durations`) and gives each place to a submit while one is allowed, else to the poll whose task has
probably been finished for longest, else to nobody: then it says how long to wait.
"""

from batchswap.polling.durations import Durations
from batchswap.polling.in_flight_limit import Capacity
from batchswap.polling.schedule import Agenda

__all__ = ["Agenda", "Capacity", "Durations"]
