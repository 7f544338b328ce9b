"""The local provider: the API of api.md on this machine, with an engine that really swaps faces.

`app.start` runs it with `settings.ServerSettings`. This file imports nothing, because every worker process imports it.
"""
