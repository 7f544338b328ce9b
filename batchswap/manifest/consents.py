"""Decide whether the release that a row names allows the row."""

from collections.abc import Mapping, Sequence
from datetime import date

import msgspec

from batchswap.manifest.fields import shown, split_tags

REMEMBERED = 50_000


class Release(msgspec.Struct, frozen=True):
    """One release of a register. Its dates are inclusive, and None is no limit. `evidence` is a path, "" if none.

    The name of the person is left out, so that no message and no ledger can show it.
    """

    reference: str
    line: int
    valid_from: date | None = None
    valid_until: date | None = None
    scope: tuple[str, ...] = ()
    evidence: str = ""

    def problem(self, tags: Sequence[str], day: date) -> str:
        """Return why the release does not allow a use with these tags on this day; "" if it does.

        A use is allowed if it has at least one of the tags of the scope. Without a scope, every use is.
        """
        if self.valid_until is not None and day > self.valid_until:
            return f"expired on {self.valid_until}"
        if self.valid_from is not None and day < self.valid_from:
            return f"is not valid before {self.valid_from}"
        if self.scope and not set(self.scope) & set(tags):
            has = f"only {shown(';'.join(tags))}" if tags else "no tags"
            return f"is for {', '.join(self.scope)}, and the row has {has}"
        return ""


class Register(msgspec.Struct, frozen=True):
    """The releases of a file by reference. None: the release has a problem, which is reported.

    Unless the register `is_whole`, it has a problem that hides some of its references.
    """

    file: str
    releases: dict[str, Release | None] = {}
    is_whole: bool = True


class Consents:
    """The rules for the consents of rows. `required_by` is the option that requires one in every row, "" if none.

    `withdrawn` are the references that the ledger has as withdrawn, with the day.
    """

    def __init__(
        self,
        day: date,
        required_by: str = "",
        register: Register | None = None,
        withdrawn: Mapping[str, str] | None = None,
    ) -> None:
        self.required_by = required_by
        self.used: dict[str, Release] = {}
        """The releases that allow rows which were read."""
        self._day, self._register, self._withdrawn = day, register, withdrawn or {}
        self._known: dict[tuple[str, str], bool] = {}

    def problem(self, consent: str, tags: Sequence[str]) -> str:
        """Return why a row with this consent and these tags is refused; "" if it is not."""
        if not consent:
            return f"is missing, but {self.required_by} requires it in every row" if self.required_by else ""
        if (since := self._withdrawn.get(consent)) is not None:
            return f"{shown(consent)} was withdrawn on {since}: name another release, or remove the row"
        if self._register is None:
            return ""
        return self._in_register(self._register, consent, tags)

    def _in_register(self, register: Register, consent: str, tags: Sequence[str]) -> str:
        if consent not in register.releases:
            return f"{shown(consent)} is not in {register.file}" if register.is_whole else ""
        if (release := register.releases[consent]) is None:
            return ""
        if wrong := release.problem(tags, self._day):
            return f"{shown(consent)} {wrong} ({register.file}:{release.line})"
        self.used[consent] = release
        return ""

    def refused(self, consents: Sequence[str], tags: Sequence[str]) -> set[int]:
        """Return the indices of rows with a consent that is not allowed. `tags` are as written."""
        if self._register is None and not self._withdrawn:
            return set()
        return {at for at, pair in enumerate(zip(consents, tags, strict=True)) if not self._allows(pair)}

    def _allows(self, pair: tuple[str, str]) -> bool:
        found = self._known.get(pair)
        if found is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            found = self._known[pair] = not self.problem(pair[0], split_tags(pair[1]))
        return found
