"""Run the test cluster: `python3 tests/cluster --help`."""

from testcluster.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
