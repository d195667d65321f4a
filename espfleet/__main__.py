"""``python -m espfleet``."""

import signal

# Whoever presses Ctrl-C while all is still being imported wants no traceback; where it is ignored, it stays so.
_interrupt = signal.getsignal(signal.SIGINT)
if _interrupt is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from espfleet.cli.main import main  # noqa: E402

signal.signal(signal.SIGINT, _interrupt)

if __name__ == "__main__":
    main()
