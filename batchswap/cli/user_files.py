"""Where an option came from, and options that must not come from the working directory's file."""

import os
import re
from collections.abc import Collection, Sequence
from itertools import islice
from pathlib import Path

import click

from batchswap.errors import UsageError

ARGUMENTS = "batchswap.cli.arguments"
"""Key of the command line in the context."""
PLACES = "batchswap.cli.places"
"""Key of the file that each option's value came from, in the context."""

OWN_ONLY = (
    "base-url", "provider", "callback-url", "callback-listen", "proxy", "keys", "notify", "ping-url", "webhook-url",
    "sign",
)  # fmt: skip
"""Options that decide where the API key and messages are sent: never read from the working directory's file."""


ADDRESSES = ("notify", "ping-url", "webhook-url")
"""Options whose values are secrets, and that a command to resume by hand does not need."""
SECRET = (*ADDRESSES, "proxy")
"""Options whose values are secrets."""
NAMING = ("filter", "tag")
"""Options whose values may be names of people."""


def resumable(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the arguments of a command that is printed: no addresses of messages, no password of a proxy."""
    from batchswap.network.proxy_address import masked

    kept: list[str] = []
    words = iter(without(arguments, ADDRESSES))
    for word in words:
        if word == "--":
            return (*kept, word, *words)
        if word == "--proxy":
            kept += [word, *map(masked, islice(words, 1))]
        elif word.startswith("--proxy="):
            kept.append(f"--proxy={masked(word.removeprefix('--proxy='))}")
        else:
            kept.append(word)
    return tuple(kept)


def without(arguments: Sequence[str], options: Collection[str]) -> tuple[str, ...]:
    """Return the arguments without these options, which have values."""
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            return (*kept, word, *words)
        name, has_value, _ = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in options:
            kept.append(word)
        elif not has_value:
            next(words, None)
    return tuple(kept)


def may_name_people(arguments: Sequence[str]) -> bool:
    """Return whether the arguments have a text that rows are chosen by, which may be a person's name."""
    return any(word.removeprefix("--").partition("=")[0] in NAMING for word in arguments if word.startswith("--"))


def check_place(path: Path, key: str, own: Path | None) -> None:
    """Raise UsageError for an option of OWN_ONLY, in any spelling, in the working directory's file.

    Otherwise the author of a folder of manifests could have the user's key sent to any host. `own`: the file that may.
    """
    spelled = re.sub("[^a-z]", "", key.lower()).removeprefix("batchswap")
    option = next((each for each in OWN_ONLY if each.replace("-", "") == spelled), None)
    if option is None:
        return
    variable = f"BATCHSWAP_{option.upper().replace('-', '_')}"
    places = f"--{option}, {variable}" + (f" or {own}" if own else "")
    raise UsageError(f'{path}: "{key[:50]}" is not taken from the working directory\'s file: use {places}')


def key_words(ctx: click.Context) -> str:
    """Return the host that gets the API key, where it was set, and settings that it overrides."""
    from batchswap.tasks import public

    if ctx.params.get("provider") == "local":
        return f"the provider is local ({_place_of(ctx, 'provider')}): no key is sent{_overridden(ctx, 'provider')}"
    also = _overridden(ctx, "provider") + _overridden(ctx, "base_url")
    return f"the API key is for {public(str(ctx.params['base_url']))} ({_place_of(ctx, 'base_url')}){also}"


def _place_of(ctx: click.Context, name: str) -> str:
    """Return the place that an option's value came from."""
    match ctx.get_parameter_source(name):
        case click.core.ParameterSource.COMMANDLINE:
            return f"--{name.replace('_', '-')}"
        case click.core.ParameterSource.DEFAULT | None:
            return "the default"
    return next((place for place, value in _elsewhere(ctx, name) if value == str(ctx.params[name])), "the environment")


def _overridden(ctx: click.Context, name: str) -> str:
    from batchswap.tasks import public

    others = [(place, value) for place, value in _elsewhere(ctx, name) if value != str(ctx.params[name])]
    return "".join(f"; {place} has {public(value)}, which does not count" for place, value in others)


def _elsewhere(ctx: click.Context, name: str) -> list[tuple[str, str]]:
    """Return the values of an option in the environment and the files, with their places, by precedence."""
    option = next(each for each in ctx.command.params if each.name == name)
    names = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())
    found = [(variable, value) for variable in names if (value := os.environ.get(variable))]
    if (value := (ctx.default_map or {}).get(name)) is not None:
        places: dict[str, Path] = ctx.find_root().meta.get(PLACES, {})
        found.append((str(places.get(name, "a file")), str(value)))
    return found
