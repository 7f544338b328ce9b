"""Read manifests as a stream of checked rows, and raise all errors at the end."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from typing import BinaryIO

import msgspec

from batchswap.errors import ManifestProblem
from batchswap.manifest.consents import Consents, Release
from batchswap.manifest.outputs import Outputs
from batchswap.manifest.readers.formats import READERS, Manifest
from batchswap.manifest.readers.matrix import Folder
from batchswap.manifest.register import read_register
from batchswap.manifest.rows import Problems
from batchswap.manifest.seen_texts import SeenTexts, Suspects, all_folded
from batchswap.manifest.sources import ManifestFiles, Options, Source, folder_of, format_of, utf8_problem
from batchswap.tasks import Row


class Chunk(msgspec.Struct, frozen=True):
    """Some rows of one batch, in the order of the manifest. Relative paths start from `folder`, which is absolute.

    `was_searched` means that the rows depend on a pattern, so the same manifest may give other rows next time.
    `rows` is empty for a manifest without rows, which then no longer contains its former tasks.
    """

    batch: str
    folder: str
    file: str
    rows: list[Row]
    was_searched: bool = False

    @property
    def place(self) -> str:
        """`Source.place` of the manifest."""
        return os.path.join(self.folder, os.path.basename(self.file))  # noqa: PTH118, PTH119


class Reading:
    """Iterate to get chunks of checked rows in constant memory. Errors raise ManifestErrors at the end.

    After the first problem, no more rows are yielded, but reading continues to find the other problems. Duplicate keys
    and outputs are found only at the end. Therefore, store the rows in one transaction that ends after the iteration,
    with statements that tolerate equal keys.
    """

    def __init__(self, sources: Sequence[Source], options: Options, stdin: BinaryIO | None) -> None:
        self.counts: dict[str, int] = {}
        """Rows of each batch so far."""
        self._sources, self._options, self._stdin = sources, options, stdin
        self._names = self._outputs()
        self._consents = Consents(datetime.now().astimezone().date())

    @property
    def releases(self) -> dict[str, Release]:
        """The releases of the register that rows name, by reference. Complete after the iteration."""
        return self._consents.used

    def __iter__(self) -> Iterator[Chunk]:
        self.counts = {}
        self._names = self._outputs()
        problems = Problems()
        self._consents = self._rules(problems)
        keys: defaultdict[str, SeenTexts] = defaultdict(SeenTexts)
        outputs = SeenTexts()
        begun: set[str] = set()
        with closing(ManifestFiles(self._stdin)) as manifests:
            for chunk in self._chunks(manifests, problems):
                self.counts[chunk.batch] = self.counts.get(chunk.batch, 0) + len(chunk.rows)
                if not chunk.rows and chunk.file in begun:
                    continue
                begun.add(chunk.file)
                if chunk.rows:
                    keys[chunk.batch].add([row.key for row in chunk.rows])
                    outputs.add(all_folded([row.output for row in chunk.rows]))
                if not problems.count:
                    yield chunk
            suspects = Suspects(
                {batch: seen.suspects() for batch, seen in keys.items()},
                outputs.suspects(),
                outputs.shared(self._names.folders),
            )
            self._report_duplicates(manifests, suspects, problems)
        if problems.count:
            raise problems.errors()

    def _report_duplicates(self, manifests: ManifestFiles, suspects: Suspects, problems: Problems) -> None:
        """Read everything a second time to find the places of duplicates, if there are suspects."""
        problems.count += suspects.left_out
        for chunk in self._chunks(manifests, Problems()) if suspects else ():
            for row in chunk.rows:
                if wrong := suspects.found(chunk.batch, chunk.file, row):
                    problems.add(ManifestProblem(chunk.file, row.line, *wrong))

    def _rules(self, problems: Problems) -> Consents:
        """Return the rules for consents today, in the machine's time zone."""
        options, day = self._options, datetime.now().astimezone().date()
        register = read_register(options.consent_register, problems) if options.consent_register else None
        return Consents(day, options.consent_rule, register, options.withdrawn)

    def _outputs(self) -> Outputs:
        return Outputs(self._options.out, self._options.name_template)

    def _chunks(self, manifests: ManifestFiles, problems: Problems) -> Iterator[Chunk]:
        for source in self._sources:
            folder = Folder(folder_of(source.path))
            place = Manifest(source, self._options, self._names, problems, folder, self._consents)
            try:
                with manifests.open(source.path) as stream:
                    try:
                        with closing(READERS[format_of(source, stream)](place, stream)) as found:  # type: ignore[type-var]
                            for batch, rows in found:
                                yield Chunk(batch, folder.path, source.path, rows, folder.was_searched)
                    except UnicodeDecodeError:
                        raise utf8_problem(source.path, stream) from None
            except ManifestProblem as problem:
                problems.add(problem)
            except OSError as error:
                place.complain(None, None, f"cannot be read: {error.strerror or error}")


def read(sources: Sequence[Source], options: Options | None = None, stdin: BinaryIO | None = None) -> Reading:
    """Return the checked rows of all `sources`. "-" reads `stdin`. Raise UsageError for a wrong name template.

    `for chunk in read([Source("spring.csv")], Options(out="results")): store(chunk.batch, chunk.folder, chunk.rows)`
    """
    return Reading(sources, options or Options(), stdin)


def check(sources: Sequence[Source], options: Options | None = None, stdin: BinaryIO | None = None) -> dict[str, int]:
    """Read everything and return the number of rows of each batch. Raise ManifestErrors or UsageError."""
    reading = read(sources, options, stdin)
    for _ in reading:
        pass
    return reading.counts
