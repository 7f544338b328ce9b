"""Values of options: from the command line, else BATCHSWAP_<OPTION>, else the files, else the default."""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from batchswap.cli.user_files import PLACES, SECRET, check_place
from batchswap.errors import UsageError
from batchswap.operations.user_files import NotReadable, at_home, small_text

PREFIX = "BATCHSWAP_"
FILE = "batchswap.yaml"


class Option(click.Option):
    """An option that can also be set as BATCHSWAP_<OPTION>. Errors name the place that the value came from.

    Commands may have different options with the same name. A value from the environment or a file that is invalid for
    this command, but valid for another one, is ignored.
    """

    def __init__(self, *args: Any, also: Iterable[str] = (), heading: str = "Output", **attributes: Any) -> None:
        """`also`: more environment variables, with lower precedence. `heading`: of its group in `--help`."""
        super().__init__(*args, **attributes)
        self.heading = heading
        own = PREFIX + key_of(self).upper()
        self.envvar = [own, *also]

    def get_help_extra(self, ctx: click.Context) -> Any:
        """Return the default value for the help, without the range of numbers."""
        return {name: words for name, words in super().get_help_extra(ctx).items() if name != "range"}

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        found = super().resolve_envvar_value(ctx)
        if found is not None and (wrong := no_text(found)):
            wrong = "the value is not UTF-8" if key_of(self).replace("_", "-") in SECRET else wrong
            raise click.BadParameter(f"{wrong} (from {self._variable()})", ctx, self)
        group = ctx.find_root().command
        if found is not None and isinstance(group, click.Group) and is_for_another(self, found, options_of(group)):
            return None
        return found

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        try:
            return super().type_cast_value(ctx, value)
        except click.BadParameter as error:
            raise click.BadParameter(error.message + self.origin(ctx), ctx, self) from None

    def origin(self, ctx: click.Context) -> str:
        """Return the place that the value came from, in brackets; "" for the command line and the default."""
        match ctx.get_parameter_source(self.name):
            case click.core.ParameterSource.ENVIRONMENT:
                return f" (from {self._variable()})"
            case click.core.ParameterSource.DEFAULT_MAP:
                places: dict[str, Path] = ctx.find_root().meta.get(PLACES, {})
                return f" (from {places.get(key_of(self), FILE)})"
        return ""

    def _variable(self) -> str:
        names = [self.envvar] if isinstance(self.envvar, str) else list(self.envvar or ())
        return next((name for name in names if os.environ.get(name)), "the environment")


def no_text(given: str) -> str:
    """Return an error if an argument or a variable is not valid text, else ""."""
    try:
        given.encode()
    except UnicodeEncodeError:
        return f'"{os.fsencode(given).decode(errors="backslashreplace")}" is not UTF-8'
    return ""


def key_of(option: click.Option) -> str:
    """Return the key of an option in a file: its longest name, such as `in_flight`."""
    return max(option.opts, key=len).lstrip("-").replace("-", "_")


def elsewhere(ctx: click.Context, name: str) -> str:
    """Return the `origin` of an option of this command."""
    return next(each.origin(ctx) for each in ctx.command.params if isinstance(each, Option) and each.name == name)


def is_typed(ctx: click.Context, *names: str) -> bool:
    """Return whether any of these options is on the command line."""
    return any(ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE for name in names)


def texts_of(option: click.Option, value: str | list[str]) -> list[str]:
    """Return the single values of a variable, or of a value in a file."""
    if isinstance(value, list):
        return value
    return list(option.type.split_envvar_value(value)) if option.multiple else [value]


def is_for_another(option: Option, value: str | list[str], commands: dict[str, dict[str, Option]]) -> bool:
    """Return whether a value is invalid for this option, but valid for one with the same name."""
    alike = [options[key_of(option)] for options in commands.values() if key_of(option) in options]
    return not _takes(option, value) and any(_takes(each, value) for each in alike)


def _takes(option: Option, value: str | list[str]) -> bool:
    if isinstance(value, list) and not option.multiple:
        return False
    try:
        for text in texts_of(option, value):
            option.type.convert(text, None, None)
    except click.BadParameter:
        return False
    return True


def files() -> list[Path]:
    """Return the files that may exist, in order of increasing precedence."""
    return [*([own] if (own := own_file()) else []), Path(FILE)]


def own_file() -> Path | None:
    """Return the path of the user's own file; None without a home directory. Raise UsageError for a relative path."""
    if (given := os.environ.get("XDG_CONFIG_HOME")) and not Path(given).is_absolute():
        raise UsageError(f"XDG_CONFIG_HOME is {given}, which is not an absolute path: set it to one, or unset it")
    configuration = given or at_home("~/.config")
    return Path(configuration, "batchswap", "config.yaml") if configuration else None


def read_files(paths: Iterable[Path], known: Iterable[str]) -> tuple[dict[str, Any], dict[str, Path]]:
    """Return values by key, and the file of each; later files win. Raise UsageError."""
    values: dict[str, Any] = {}
    places: dict[str, Path] = {}
    names = sorted(known)
    for path in paths:
        spelled: dict[str, Any] = {}
        for key, value in _read(path).items():
            if path == Path(FILE):
                check_place(path, str(key), own_file())
            name = str(key).replace("-", "_").lstrip("_")
            if spelled.setdefault(name, key) != key:
                raise UsageError(f'{path}: "{spelled[name]}" and "{key}" are the same option: remove one')
            if name not in names:
                nearest = difflib.get_close_matches(name[:50], names, n=1, cutoff=0.0)[0].replace("_", "-")
                raise UsageError(f'{path}: "{str(key)[:50]}" is not an option; did you mean "{nearest}"?')
            if value not in ("", []):
                values[name], places[name] = value, path
    return values, places


def _read(path: Path) -> dict[str, Any]:
    text = _text(path)
    if not text:
        return {}
    import yaml  # slow to load, and needed only if there is such a file

    try:
        # Every scalar stays text: YAML would read `until: 23:30` as 1410 minutes.
        found = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}" if mark is not None else ""
        raise UsageError(f"{path}{place}: is not valid YAML: {getattr(error, 'problem', None) or error}") from error
    if found in (None, ""):
        return {}
    if not isinstance(found, dict):
        raise UsageError(f"{path}: must list options, one `name: value` per line")
    node = yaml.compose(text, Loader=yaml.BaseLoader)
    names = [str(key.value) for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
    if twice := next((name for place, name in enumerate(names) if name in names[:place]), None):
        raise UsageError(f'{path}: "{twice}" is given twice: remove one')
    for key, value in found.items():
        if isinstance(value, dict) or (isinstance(value, list) and not all(isinstance(v, str) for v in value)):
            raise UsageError(f"{path}: {key}: must be a value, or a list of values")
    return found


def _text(path: Path) -> str:
    """Return the text of the file; "" if there is none. Raise UsageError if it cannot be read."""
    try:
        return small_text(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.is_symlink():
            raise UsageError(f"{path}: is a broken link") from error
        if (other := path.with_suffix(".yml")).exists():
            raise UsageError(f"{other}: is not read: rename it to {path.name}") from None
        return ""
    except NotReadable as error:
        raise UsageError(f"{path}: {error}") from error


def options_of(group: click.Group) -> dict[str, dict[str, Option]]:
    """Return the options of every command by key."""
    return {
        name: {key_of(each): each for each in command.params if isinstance(each, Option)}
        for name, command in group.commands.items()
    }


def default_map(group: click.Group) -> tuple[dict[str, Any], dict[str, Path]]:
    """Return the values of the files in the form of click, and the file of each key. Raise UsageError."""
    commands = options_of(group)
    known = {key for options in commands.values() for key in options}
    check_environment(known)
    values, places = read_files(files(), known)
    mapped: dict[str, Any] = {}
    for command, options in commands.items():
        mapped[command] = {}
        for key, value in values.items():
            if (option := options.get(key)) is None or is_for_another(option, value, commands):
                continue
            if isinstance(value, list) and not option.multiple:
                raise UsageError(f"{places[key]}: {key}: takes one value, not a list")
            mapped[command][option.name] = _as_meant(option, value, places[key])
    return mapped, places


def _as_meant(option: Option, value: str | list[str], place: Path) -> str | list[str]:
    """Split several values, and expand `~` in a path. Raise UsageError."""
    if option.multiple or isinstance(value, list):
        return texts_of(option, value)
    if not isinstance(option.type, click.Path) or not value.startswith("~"):
        return value
    if (path := at_home(value)) is None:
        raise UsageError(f"{place}: {key_of(option)}: {value}: there is no such home directory")
    return str(path)


def check_environment(known: Iterable[str]) -> None:
    """Raise UsageError for a variable that is nearly the name of an option: a misspelt budget would not hold."""
    names = {key.upper() for key in known}
    for variable in os.environ:
        name = variable.removeprefix(PREFIX)
        if name == variable or name in names:
            continue
        if nearest := difflib.get_close_matches(name[:50], names, n=1, cutoff=0.8):
            raise UsageError(f"{variable[:60]} is not an option; did you mean {PREFIX}{nearest[0]}?")


def remember_places(ctx: click.Context, places: dict[str, Path]) -> None:
    ctx.meta[PLACES] = places
