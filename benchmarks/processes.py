"""What the kernel says about a process: processor time and memory. Linux only; elsewhere every figure is None."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_RESET_PEAK = "5"
_CLOCK_OF_PROCESS = 2


def processor_s(pid: int) -> float | None:
    """User and system time of the process with all its threads, in seconds."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def processor_exact_s(pid: int) -> float | None:
    """The same to the nanosecond, from the clock that the kernel keeps of a process: for what takes milliseconds."""
    try:
        return time.clock_gettime(((~pid) << 3) | _CLOCK_OF_PROCESS)
    except (AttributeError, OSError):
        return None


def resident_bytes(pid: int) -> int | None:
    return _status_bytes(pid, "VmRSS")


def resident_peak_bytes(pid: int) -> int | None:
    """The highest resident size since the start or the last ``reset_peak``."""
    return _status_bytes(pid, "VmHWM")


def reset_peak(pid: int) -> bool:
    """Let the peak start anew from what is resident now; False where the kernel does not allow it."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def machine() -> dict[str, str | int]:
    """What a reader has to know to compare figures."""
    return {
        "processors": os.cpu_count() or 0,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "load_average": f"{os.getloadavg()[0]:.2f}" if sys.platform != "win32" else "",
    }


def _status_bytes(pid: int, name: str) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None
