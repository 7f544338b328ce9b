"""Why a run submits no more, or ends, and what a person can do about it."""

import msgspec

from batchswap.errors import Exit


class Stop(msgspec.Struct, frozen=True):
    """Why no more is submitted, or why everything ends."""

    exit: Exit
    words: str


OUT_OF_CREDITS = Stop(Exit.NO_CREDITS, "out of credits (402): top up, and run again")


class Stopped(Exception):
    """The run ends, or submits no more: what waited for its turn need not wait any longer."""


class RowRefused(Exception):
    """A free call refused a row's inputs (422): submitting them would do the same. Its words are clean."""


def refusal_words(code: str) -> str:
    """What a refusal of the whole account (401, 403, 505) asks of the user."""
    match code:
        case "401":
            return "the API refuses the key (401): set CRUN_API_KEY, or the line CRUN_API_KEY=… in ~/.crun/.env"
        case "403":
            return "the API refuses the key (403): it may be disabled; see the account's page"
        case _:
            return "the API has this feature disabled for the account (505)"
