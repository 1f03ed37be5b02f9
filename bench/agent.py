"""Memory and CPU of a real agent beside a plain script: the part of `footprint.py` that needs no other programs."""

import sys

from footprint import main

if __name__ == "__main__":
    sys.exit(main(with_peers=False))
