"""Be a lamp. Ctrl-C on the serial line ends it and leaves a prompt."""

from lamp.app import main

main()
