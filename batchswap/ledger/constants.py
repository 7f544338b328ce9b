"""What marks a file as a ledger."""

APPLICATION_ID = 0x62737770
"""'bswp' in SQLite's application_id."""
VERSION = 8
"""user_version of a ledger that has had all steps of the schema."""
