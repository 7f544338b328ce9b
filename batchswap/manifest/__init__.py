"""Manifests: text → checked rows, or all errors at once (docs/reference.md, "Manifests")."""

from batchswap.manifest.outputs import DEFAULT_TEMPLATE
from batchswap.manifest.reader import Chunk, Reading, check, read
from batchswap.manifest.sources import STDIN, ManifestFormat, Options, Source

__all__ = ["DEFAULT_TEMPLATE", "STDIN", "Chunk", "ManifestFormat", "Options", "Reading", "Source", "check", "read"]
