"""What the walks through containers share."""

from typing import BinaryIO


class Incomplete(Exception):
    """The file ends too early, or its parts do not fit together. Never leaves this package."""


def read_exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise Incomplete("it ends too early")
    return data
