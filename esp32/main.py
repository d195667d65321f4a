"""Be a lamp. Ctrl-C on the serial line ends it and leaves a prompt."""

import sys

import slots

slots.enter()
# From here on only an update needs it.
del slots, sys.modules["slots"]
try:
    from lamp.app import main
except Exception as exc:
    import slots

    slots.failed(exc)
else:
    main()
