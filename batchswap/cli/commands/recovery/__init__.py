"""Commands that copy a ledger, and repair or replace a lost one. None of them submits."""
