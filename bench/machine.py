"""The machine below the servers: its disk, its processors, its name.

Lives here: what is read from the kernel about the whole machine, and the private network the bench runs in.
Does not live here: single processes (processes.py).
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

_MEMORY_FILE_SYSTEMS = {"tmpfs", "ramfs", "devtmpfs"}
_INSIDE = "GLASSPOST_BENCH_ISOLATED"


def isolate() -> None:
    """Runs this program again in a network of its own that has only loopback, with mounts of its own: nothing can
    leave the machine, no resolver answers late, and paths that are compiled into a server can lead to its directory.
    Returns where that is not allowed (it needs root) or already done."""
    if os.environ.get(_INSIDE):
        return
    if subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True).returncode:
        return
    os.environ[_INSIDE] = "1"
    script = 'ip link set lo up && mount --bind /dev/null /etc/resolv.conf && exec "$@"'
    os.execvp("unshare", ["unshare", "--net", "--mount", "sh", "-c", script, "sh", sys.executable, *sys.argv])


def lead(place: str, directory: Path) -> None:
    """Makes `place` show `directory`, for this program and its children only. Needs `isolate` before."""
    subprocess.run(["umount", "--lazy", place], capture_output=True)
    run("mount", "--bind", str(directory), place)


def is_isolated() -> bool:
    return bool(os.environ.get(_INSIDE))


def raise_file_limit() -> None:
    """As many open files as we may have: the servers inherit it, the idle sessions need it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def file_system(path: Path) -> str:
    """Type of the file system that holds `path`: "ext4", "tmpfs"."""
    best, kind = "", "unknown"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ", 1)
        mount = left.split()[4]
        inside = path.is_relative_to(mount)
        if inside and len(mount) >= len(best):
            best, kind = mount, right.split()[0]
    return kind


def is_memory(path: Path) -> bool:
    """Whether `path` lies in memory, where a flush costs nothing and so proves nothing."""
    return file_system(path) in _MEMORY_FILE_SYSTEMS


def flushes(path: Path) -> int | None:
    """Flushes so far of the disk that holds `path`, by anybody; None where the kernel does not tell (a
    network or layered file system). Only whole disks keep count, so a partition asks its disk."""
    device = path.stat().st_dev
    block = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    if (block / "partition").exists():
        block = block.parent
    try:
        fields = (block / "stat").read_text().split()
    except OSError:
        return None
    return int(fields[15]) if len(fields) > 15 else None


def busy_seconds() -> float:
    """CPU time spent by everything on this machine: servers, generator, kernel, whoever else is there."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle, waiting_for_disk = fields[3], fields[4]
    return (sum(fields) - idle - waiting_for_disk) / os.sysconf("SC_CLK_TCK")


def describe(work: Path) -> str:
    """One line: processor, cores, memory, kernel, disk."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return (
        f"{os.cpu_count()} cores ({model}), {gib:.0f} GiB, {platform.system()} {platform.release()}, "
        f"work on {file_system(work)}"
    )


def run(*argv: str) -> str:
    """Output of a short command, for setting up and asking versions; raises if it fails."""
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120).stdout.strip()
