from batchswap.api import open_ledger, plan, plan_async, run, run_async
from batchswap.settings import Settings

__all__ = ["Settings", "open_ledger", "plan", "plan_async", "run", "run_async"]
__version__: str
