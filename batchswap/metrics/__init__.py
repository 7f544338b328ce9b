"""Metrics of a ledger for Prometheus. Needs the extra `metrics`.

`exposition` turns a ledger into text for a scraper; `textfile` keeps a file for node_exporter up to date.
"""
