"""Look for faces in the targets before they are paid for: in processes, each content once, with a cache.

`check --media` uses it, and the runner for `run --preflight`: so this package is below the runner, unlike `preflight`.
"""
