"""Disks that are full, folders that may not be written."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from injection.invariants import nobody_left, nothing_half_written
from injection.laboratory import REPRO
from injection.recovery import SINGLE, STAGE, Laboratory, Skipped, complaint, recovers, shortened


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skipped(f"mount: {done.stderr.strip() or done.returncode}")


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def small_disk(folder: Path, *, spare_bytes: int) -> Iterator[Callable[[], None]]:
    """Put a folder on a disk of its own with little room; calling what is given makes the disk larger."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f"{folder.name}.aside")
    shutil.copytree(folder, aside, symlinks=True)
    pages = sum(2 + path.stat().st_size // 4096 for path in aside.rglob("*") if not path.is_symlink())
    try:
        _mount("-t", "tmpfs", "-o", f"size={4096 * pages + spare_bytes}", "none", str(folder))
    except Skipped:
        shutil.rmtree(aside)
        raise
    try:
        shutil.copytree(aside, folder, symlinks=True, dirs_exist_ok=True)
        _fill(folder, spare_bytes=spare_bytes)

        def enlarge() -> None:
            (folder / ".ballast").unlink(missing_ok=True)
            _mount("-o", "remount,size=1g", str(folder))

        yield enlarge
    finally:
        _unmount(folder)
        shutil.rmtree(aside)


def _fill(folder: Path, *, spare_bytes: int) -> None:
    room = shutil.disk_usage(folder).free - spare_bytes
    if room > 0:
        (folder / ".ballast").write_bytes(bytes(room))


def full_disk(lab: Laboratory, place: str, *, stage: str = STAGE, spare_bytes: int = 8192) -> str:
    """No room for the outputs, DVC's cache, or the work folder."""
    checkout = lab.checkout(SINGLE, [stage])
    with small_disk(checkout.root / place, spare_bytes=spare_bytes) as enlarge:
        code, said = checkout.run(*REPRO)
        line = complaint(code, said, "pace left" if place == ".dvc/cache" else "disk is full")
        nobody_left(checkout)
        nothing_half_written(checkout.root)
        enlarge()
        recovers(lab, checkout)
    return shortened(line, checkout)


def read_only(lab: Laboratory, place: str) -> str:
    """A folder that may not be written: DVC's cache, or the outputs."""
    checkout = lab.checkout(SINGLE, [STAGE])
    folder = checkout.root / place
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,ro,bind", str(folder))
        code, said = checkout.run(*REPRO)
        line = complaint(code, said, "ead-only file system")
        nobody_left(checkout)
    finally:
        _unmount(folder)
    nothing_half_written(checkout.root)
    recovers(lab, checkout)
    return shortened(line, checkout)


def read_only_downloads(lab: Laboratory) -> str:
    checkout = lab.checkout(SINGLE, [])
    cache = checkout.root.parent / "cache"
    mirror = checkout.root.parent / "mirror"
    cache.mkdir()
    mirror.mkdir()
    (mirror / "PaviaU.mat").write_bytes(bytes(1000))
    env = {"HSIPIPE_MIRROR": str(mirror), "HSIPIPE_CACHE": str(cache), "HSIPIPE_OFFLINE": "1"}
    _mount("--bind", str(cache), str(cache))
    try:
        _mount("-o", "remount,ro,bind", str(cache))
        code, said = checkout.run("-m", "flows", "download", "pavia_university", env=env)
        line = complaint(code, said, "ead-only file system")
    finally:
        _unmount(cache)
    return shortened(line, checkout)
