"""Run DVC without its hints: ``python -m tasks.running.quiet_dvc repro``.

After each stage DVC advises to track its lock file with git and to push. Both are decisions of the user, and
`hsipipe retrain` takes them itself.
"""

import logging
import sys

HINTING = ("dvc.repo.scm_context", "dvc.dvcfile")
"""Loggers whose information is hints on git, and news of the lock file."""

if __name__ == "__main__":
    from dvc.cli import main

    for name in HINTING:
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.exit(main(sys.argv[1:]))
