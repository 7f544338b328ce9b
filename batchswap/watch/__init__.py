"""The live page of a ledger, for a browser: the report's page, kept up to date, with buttons for the user's decisions.

It reads the ledger with a read-only connection. It never submits, and knows no API key.
"""
