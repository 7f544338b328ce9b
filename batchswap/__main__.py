"""`batchswap`, also as `python -m batchswap`."""

from batchswap.cli.console import use_utf8
from batchswap.cli.main import hold_standard_streams, root


def main() -> None:
    """The entry point. Ends the process with the command's exit code."""
    use_utf8()
    hold_standard_streams()
    root.main()


if __name__ == "__main__":
    main()
