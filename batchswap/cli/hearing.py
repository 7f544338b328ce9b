"""What the package logs is said by the voice. Apart, because loading logging takes time that --help has not."""

import logging

from batchswap.cli.console import Voice


class Hearer(logging.Handler):
    """Passes on what the package logs."""

    def __init__(self, voice: Voice) -> None:
        super().__init__()
        self.voice = voice

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f": {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        if record.levelno >= logging.WARNING:
            self.voice.warn(text)
        else:
            self.voice.say(text, record.levelname.lower())


def listen(voice: Voice) -> None:
    """The package's own log records are said: warnings always, the rest when verbose."""
    logger = logging.getLogger("batchswap")
    logger.handlers = [Hearer(voice)]
    logger.setLevel(logging.DEBUG if voice.is_verbose else logging.WARNING)
