"""The local provider: the API of api.md on this machine, with an engine that really swaps faces.

`service.start` runs it; `settings.ServerSettings` says how. This file imports nothing, because every worker process
imports it too.
"""
