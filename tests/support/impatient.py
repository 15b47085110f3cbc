"""``minibert`` that waits so many seconds for a file on another machine: ``impatient SECONDS …``."""

import sys

from minibert.cli import main
from minibert.terminal import leave
from minibert.training import distributed

if __name__ == "__main__":
    distributed.SHARED_SECONDS = float(sys.argv.pop(1))
    leave(main())
