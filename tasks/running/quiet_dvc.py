"""Run DVC without its hints: ``python -m tasks.running.quiet_dvc repro``.

After each stage DVC advises to track its lock file with git, and after the last to push. Both are decisions of the
user, and `hsipipe retrain` takes them itself. After a killed run DVC warns of each lock that it removes.
"""

import logging
import sys
from typing import Any

HINTING = ("dvc.repo.scm_context", "dvc.dvcfile")
"""Loggers whose information is hints on git, and news of the lock file."""
LOCKS = "dvc.rwlock"
"""Logger whose warnings are locks of killed processes."""
PUSH = "Use `dvc push` to send your updates to remote storage."
"""What DVC prints at the end of `repro`, also without a remote storage."""

if __name__ == "__main__":
    from dvc.cli import main
    from dvc.ui import ui

    for name in HINTING:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(LOCKS).setLevel(logging.ERROR)
    write = ui.write

    def write_others(*objects: Any, **options: Any) -> None:
        """Print what is not the hint; DVC has no setting for it."""
        if objects != (PUSH,):
            write(*objects, **options)

    ui.write = write_others
    sys.exit(main(sys.argv[1:]))
