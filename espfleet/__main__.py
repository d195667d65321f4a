"""``python -m espfleet``."""

from espfleet.cli.main import main

if __name__ == "__main__":
    main()
