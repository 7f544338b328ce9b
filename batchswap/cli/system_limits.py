"""Errors that are this machine's or this user's limits, as sentences that say what to do."""

import errno

_LESS = "or lower --workers, --downloads and --ahead"
_MEMORY = f"there is not enough memory: free some, raise the limit (ulimit -v, or the container's), {_LESS}"
_THREADS = f"no more threads or processes can be started: raise the limit (ulimit -u, or the container's), {_LESS}"
_BY_NUMBER = {
    errno.EMFILE: f"too many files are open in this process: raise the limit (ulimit -n 1024), {_LESS}",
    errno.ENFILE: "too many files are open on this machine: end other programs, or raise sysctl fs.file-max",
    errno.ENOMEM: _MEMORY,
    errno.EAGAIN: _THREADS,
    errno.EROFS: "the file system is read-only: name another place (--db, --out, XDG_STATE_HOME, TMPDIR)",
}


def words_of(error: BaseException) -> str:
    """What is wrong and what helps; "" for an error that is no such limit."""
    match error:
        case MemoryError():
            return _MEMORY
        case RuntimeError() if "start new thread" in str(error):
            return _THREADS
        case FileNotFoundError() if "temporary directory" in str(error):
            return "there is no folder for temporary files: set TMPDIR to one that can be written"
        case OSError() if error.errno in _BY_NUMBER:
            place = f"{error.filename}: " if error.filename else ""
            return f"{place}{_BY_NUMBER[error.errno]}"
        case UnicodeEncodeError():
            return f"a name has letters that {error.encoding} file names do not: use a UTF-8 locale (LC_ALL=C.UTF-8)"
        case ImportError():
            return f"a part of the installation cannot be loaded ({error}): install batchswap again"
    return ""
