"""`batchswap`, also as `python -m batchswap`."""

from batchswap.cli.console import use_utf8
from batchswap.cli.main import hold_standard_streams, keep_own_access, root


def main() -> None:
    """Run the command line, and exit with the exit code of the command."""
    use_utf8()
    hold_standard_streams()
    keep_own_access()
    root.main()


if __name__ == "__main__":
    main()
