"""Everything that is wrong, collected and told at once."""

from batchswap.errors import ManifestErrors, ManifestProblem

MOST_SHOWN = 1000


class Problems:
    """Collects problems in bounded memory: the first `most` are kept, the rest are counted."""

    def __init__(self, most: int = MOST_SHOWN) -> None:
        self.count = 0
        self._most = most
        self._kept: list[ManifestProblem] = []
        self._files: dict[str, int] = {}

    def add(self, problem: ManifestProblem) -> None:
        self.count += 1
        if len(self._kept) < self._most:
            self._files.setdefault(problem.file, len(self._files))
            self._kept.append(problem)

    def errors(self) -> ManifestErrors:
        """All problems by file and line, and how many more there are."""
        found = sorted(self._kept, key=lambda p: (self._files[p.file], p.line or 0))
        if more := self.count - len(found):
            found.append(
                ManifestProblem(found[-1].file, None, None, f"and {more:,} more problems, which are not listed")
            )
        return ManifestErrors(found)
