"""Check what `make dist` has built, use it, and write the man pages: `python -m tests.packages`."""

import os
import sys
import time

from tests.packages import archives, installation, man_pages

DIST = archives.ROOT / "dist"


def main() -> None:
    wheel, sdist = next(DIST.glob("*.whl")), next(DIST.glob("*.tar.gz"))
    for archive in (wheel, sdist):
        content = archives.content_of(archive)
        if faults := archives.faults_of(content, archives.wanted_in(archive)):
            sys.exit("\n".join(f"{archive.name}: {fault}" for fault in faults))
        print(f"{archive.name}: {len(content)} files, {archive.stat().st_size:,} bytes")
    for words in installation.check(wheel):
        print(f"installed alone: batchswap {words}".rstrip())
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    pages = man_pages.pages(time.strftime("%Y-%m-%d", time.gmtime(seconds)))
    folder = DIST / "man" / "man1"
    folder.mkdir(parents=True)
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    print(f"man/man1: {len(pages)} pages")


main()
