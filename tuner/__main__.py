"""Runs the rank program as ``python3 -B <tools>``. <tools> has this file, ``tunecast_tuner`` and ``tunecast_core``."""

import sys

# Bytecode written into the image would make the engine's cold start look warmer than a fresh replica's.
sys.dont_write_bytecode = True

from tunecast_tuner.rank.main import main  # noqa: E402

if __name__ == "__main__":
    main(sys.argv[1:])
