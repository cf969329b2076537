"""`python -m typedfilter`: the command line without the console script."""

import sys

from typedfilter.cli import main

if __name__ == "__main__":
    sys.exit(main())
