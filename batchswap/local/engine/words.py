"""What the inputs are called in sentences for people."""

NOUNS = {"face": "face picture", "video": "video", "image": "image"}


def noun(culprit: str) -> str:
    """Of an EngineError's culprit."""
    return NOUNS.get(culprit, culprit)
