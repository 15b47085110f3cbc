"""``python -m minibert`` is the command ``minibert``."""

from minibert.cli import main
from minibert.terminal import leave

if __name__ == "__main__":
    leave(main())
