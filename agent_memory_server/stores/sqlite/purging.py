"""Writing the file anew, so that no page holds anything of what was deleted.

Deleted text is overwritten at once (``secure_delete``), but the write-ahead log keeps earlier pages until it is reused, and what
was written before this version set the rule may lie in free pages. VACUUM copies what is there into new pages, and a truncating
checkpoint empties the log.
"""

from __future__ import annotations

import time
from pathlib import Path

import apsw

from agent_memory_server.stores.sqlite import failures
from agent_memory_server.stores.sqlite.connections import apply_rules, connect, run

_PATIENCE_MS = 60_000
_CHECKPOINT_TRIES = 50
_CHECKPOINT_WAIT_S = 0.1


def purge_file(path: Path) -> str:
    """Beside running servers, whose writes wait meanwhile. Raises the ``failures``."""
    before = path.stat().st_size
    try:
        connection = connect(path)
        try:
            connection.set_busy_timeout(_PATIENCE_MS)
            apply_rules(connection)
            run(connection, "VACUUM")
            emptied = _empty_log(connection)
        finally:
            connection.close(True)
    except apsw.Error as error:
        raise failures.translated(error) from error
    said = f"{path.name} was written anew: {_mib(path.stat().st_size)} MiB, before {_mib(before)} MiB"
    if not emptied:
        return f"{said}; its log could not be emptied while somebody reads from it: run this again"
    return f"{said}; its log is empty"


def _empty_log(connection: apsw.Connection) -> bool:
    """Whether nothing is left in the log; readers that began earlier are waited for."""
    for _ in range(_CHECKPOINT_TRIES):
        busy, *_ = next(iter(run(connection, "PRAGMA wal_checkpoint(TRUNCATE)")))
        if not busy:
            return True
        time.sleep(_CHECKPOINT_WAIT_S)
    return False


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f}"
