"""``python -m zfkeras.cli``."""

from zfkeras.cli import main

main()
