"""The `baihua` command, which also ends well where Ctrl-C comes before the rest is imported."""

import sys


def main() -> int:
    """Run `app.cli.main` on the command line's arguments; returns the exit status."""
    try:
        from app.cli import main as run

        return run()
    except KeyboardInterrupt:
        print("\nstopped: nothing was written", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
