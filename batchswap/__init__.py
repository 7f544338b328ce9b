"""batchswap: a batch job runner for face swaps. The ledger is the only truth; the README says how to use it."""

__version__ = "0.1.0"
