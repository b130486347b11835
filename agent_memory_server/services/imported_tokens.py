"""Tokens that the reference server made, known by a bcrypt hash alone: found by trying, once, and by digest ever after.

Trying is slow by intent (a quarter of a second for each hash), so what strangers can make of it is bounded: one hash is tried
at a time, on a thread; a few credentials may wait; what was tried in vain is remembered. Everything else goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from agent_memory_server.domain.access_tokens import AccessToken
from agent_memory_server.errors import DependencyUnavailable, TooManyRequests
from agent_memory_server.ports.access_tokens import AccessTokenStore
from agent_memory_server.ports.imported_hashes import ImportedHashes

WAITING_MAX = 16
"""Credentials that are being tried or wait for it; one more is answered with 429."""
WAIT_S = 4.0
"""How long a request waits; then it is answered with 503, and the trial goes on for the next one."""
TRIED_MAX = 10_000
_TRIED_S = 60.0
_CANDIDATES_S = 2.0
"""How old the list of imported tokens may be."""


class ImportedTokens:
    """``find`` tries a credential whose digest is not known against the imported hashes."""

    def __init__(
        self,
        *,
        store: AccessTokenStore,
        hashes: ImportedHashes,
        clock_s: Callable[[], float] = time.monotonic,
        wait_s: float = WAIT_S,
    ) -> None:
        self._store = store
        self._hashes = hashes
        self._clock_s = clock_s
        self._wait_s = wait_s
        self._tried: OrderedDict[str, float] = OrderedDict()
        self._trials: dict[str, asyncio.Task[AccessToken | None]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._candidates: Sequence[AccessToken] = ()
        self._looked_at = float("-inf")

    async def find(self, credential: str, digest: str) -> AccessToken | None:
        """The token, found by its digest from now on; None when no imported hash is its.

        Raises TooManyRequests when too many wait, DependencyUnavailable when the trial takes longer than a request may wait.
        """
        if self._tried.get(digest, 0.0) > self._clock_s() or not await self._imported():
            return None
        trial = self._trials.get(digest)
        if trial is None:
            if len(self._trials) >= WAITING_MAX:
                raise TooManyRequests(
                    "too many unknown tokens are being tried: repeat the request later", retry_after_s=5
                )
            trial = asyncio.create_task(self._try(credential, digest), name="trial of a token")
            self._trials[digest] = trial
            trial.add_done_callback(lambda done: self._ended(digest, done))
        try:
            async with asyncio.timeout(self._wait_s):
                return await asyncio.shield(trial)
        except TimeoutError:
            raise DependencyUnavailable(
                "the token is being compared with those of the reference server: repeat the request", retry_after_s=2
            ) from None

    async def close(self) -> None:
        """Stop trying; nothing is lost by it."""
        trials = list(self._trials.values())
        for trial in trials:
            trial.cancel()
        for trial in trials:
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await trial
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None

    async def _imported(self) -> Sequence[AccessToken]:
        if self._clock_s() - self._looked_at > _CANDIDATES_S:
            self._candidates = await self._store.imported()
            self._looked_at = self._clock_s()
        return self._candidates

    async def _try(self, credential: str, digest: str) -> AccessToken | None:
        for candidate in await self._store.imported():
            if await self._matches(credential, candidate.imported_hash or ""):
                adopted = await self._store.adopt(candidate.id, digest=digest)
                self._looked_at = float("-inf")
                # Another process may have been faster: then it is found by its digest already.
                return adopted or await self._store.find(digest)
        self._tried[digest] = self._clock_s() + _TRIED_S
        while len(self._tried) > TRIED_MAX:
            self._tried.popitem(last=False)
        return None

    async def _matches(self, credential: str, imported_hash: str) -> bool:
        async with self._one_at_a_time:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(
                    1, thread_name_prefix="imported-tokens", initializer=self._hashes.prepare_thread
                )
            begun = time.monotonic()
            loop = asyncio.get_running_loop()
            matches = await loop.run_in_executor(self._thread, self._hashes.matches, credential, imported_hash)
            if len(self._trials) > 1:
                # A flood gets half a processor at most.
                await asyncio.sleep(time.monotonic() - begun)
        return matches

    def _ended(self, digest: str, trial: asyncio.Task[AccessToken | None]) -> None:
        self._trials.pop(digest, None)
        if not trial.cancelled():
            trial.exception()  # whoever waits for it has it; nobody may be waiting any more
