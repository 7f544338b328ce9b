"""Coroutine tests run to their end on a real event loop; those in tests/loop run on virtual time."""

import asyncio
import inspect

import pytest
from hypothesis import settings

# A busy machine takes long for an example now and then, which is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test to its end."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}))
    return True
