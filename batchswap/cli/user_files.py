"""Files of the user: read with care, and which of them may name the host that gets the API key."""

import os
import re
from pathlib import Path

import click

from batchswap.errors import UsageError

ARGUMENTS = "batchswap.cli.arguments"
"""Where the context keeps the command line."""
PLACES = "batchswap.cli.places"
"""Where the context keeps which file each option's value came from."""

OWN_ONLY = (
    "base-url", "provider", "callback-url", "callback-listen", "proxy", "keys", "notify", "ping-url", "webhook-url",
    "sign",
)  # fmt: skip
"""Options that decide where the key and the user's messages go: never taken from the working directory's file."""


def check_place(path: Path, key: str, own: Path | None) -> None:
    """Raises UsageError for an option of OWN_ONLY, however it is spelled, in the working directory's file.

    `own` is the user's own file. Whoever gives away a folder of manifests could else have the key sent to a host.
    """
    spelled = re.sub("[^a-z]", "", key.lower()).removeprefix("batchswap")
    option = next((each for each in OWN_ONLY if each.replace("-", "") == spelled), None)
    if option is None:
        return
    variable = f"BATCHSWAP_{option.upper().replace('-', '_')}"
    places = f"--{option}, {variable}" + (f" or {own}" if own else "")
    raise UsageError(f'{path}: "{key[:50]}" is not taken from the working directory\'s file: use {places}')


def key_words(ctx: click.Context) -> str:
    """The host that gets the key, where that was said, and what was said elsewhere and does not count."""
    from batchswap.tasks import public

    if ctx.params.get("provider") == "local":
        return f"the provider is local ({_said_by(ctx, 'provider')}): no key is sent{_overruled(ctx, 'provider')}"
    also = _overruled(ctx, "provider") + _overruled(ctx, "base_url")
    return f"the API key goes to {public(str(ctx.params['base_url']))} ({_said_by(ctx, 'base_url')}){also}"


def _said_by(ctx: click.Context, name: str) -> str:
    """The place that decides an option."""
    match ctx.get_parameter_source(name):
        case click.core.ParameterSource.COMMANDLINE:
            return f"--{name.replace('_', '-')}"
        case click.core.ParameterSource.DEFAULT | None:
            return "the default"
    return next((place for place, value in _elsewhere(ctx, name) if value == str(ctx.params[name])), "the environment")


def _overruled(ctx: click.Context, name: str) -> str:
    from batchswap.tasks import public

    others = [(place, value) for place, value in _elsewhere(ctx, name) if value != str(ctx.params[name])]
    return "".join(f"; {place} says {public(value)}, which does not count" for place, value in others)


def _elsewhere(ctx: click.Context, name: str) -> list[tuple[str, str]]:
    """What the environment and the files say, and where, in the order in which they count."""
    option = next(each for each in ctx.command.params if each.name == name)
    names = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())
    found = [(variable, value) for variable in names if (value := os.environ.get(variable))]
    if (value := (ctx.default_map or {}).get(name)) is not None:
        places: dict[str, Path] = ctx.find_root().meta.get(PLACES, {})
        found.append((str(places.get(name, "a file")), str(value)))
    return found
