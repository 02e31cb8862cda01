"""`segdata` and `python -m segdata`."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # `signal` takes milliseconds: it has names for the numbers


def main() -> None:
    """Run the command line; ctrl-C while it is being imported ends the process without a traceback."""
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from segdata import cli

    cli.main()


if __name__ == "__main__":
    main()
