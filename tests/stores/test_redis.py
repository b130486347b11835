"""The Redis engine passes the contract that every engine passes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from agent_memory_server.ports.stores import Stores
from agent_memory_server.stores.redis import open_redis
from tests.contract.stores.access_tokens import AccessTokensContract
from tests.contract.stores.background_stores import EngineContract, JournalContract, LeasesContract, OutboxContract
from tests.contract.stores.filter_parity import FilterParityContract
from tests.contract.stores.history import HistoryContract
from tests.contract.stores.holdings import HoldingsContract, LedgerContract
from tests.contract.stores.jobs import JobStoreContract
from tests.contract.stores.making import T0
from tests.contract.stores.memory_store import MemoryStoreContract
from tests.contract.stores.overviews import OverviewsContract
from tests.contract.stores.past import PastContract
from tests.contract.stores.session_background import SessionBackgroundContract
from tests.contract.stores.summary_views import ScheduleStoreContract, SummaryViewStoreContract
from tests.contract.stores.unmerging import UnmergingContract
from tests.contract.stores.upkeep_stores import AgesContract, ClockStoreContract, ComparisonStoreContract
from tests.contract.stores.webhooks import WebhookStoreContract
from tests.contract.stores.working_memory_store import WorkingMemoryStoreContract
from tests.redis_server import RedisServer, running_redis


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for all tests here; each begins with an empty one."""
    with running_redis(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture
async def stores(server: RedisServer) -> AsyncIterator[Stores]:
    """An empty store."""
    server.empty()
    opened = await open_redis(server.url, now=lambda: T0)
    yield opened
    await opened.engine.close()


class TestMemories(MemoryStoreContract):
    pass


class TestFilters(FilterParityContract):
    pass


class TestWorkingMemory(WorkingMemoryStoreContract):
    pass


class TestSessionBackground(SessionBackgroundContract):
    pass


class TestOutbox(OutboxContract):
    pass


class TestLeases(LeasesContract):
    pass


class TestJournal(JournalContract):
    pass


class TestHistory(HistoryContract):
    pass


class TestWebhooks(WebhookStoreContract):
    pass


class TestEngine(EngineContract):
    pass


class TestJobs(JobStoreContract):
    pass


class TestSummaryViews(SummaryViewStoreContract):
    pass


class TestSchedules(ScheduleStoreContract):
    pass


class TestComparisons(ComparisonStoreContract):
    pass


class TestAges(AgesContract):
    pass


class TestUnmerging(UnmergingContract):
    pass


class TestClock(ClockStoreContract):
    pass


class TestAccessTokens(AccessTokensContract):
    pass


class TestOverviews(OverviewsContract):
    pass


class TestHoldings(HoldingsContract):
    pass


class TestPast(PastContract):
    pass


class TestLedger(LedgerContract):
    pass
