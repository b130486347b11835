"""The quota of requests refills steadily, and holds callers apart."""

from __future__ import annotations

import pytest

from agent_memory_server.domain.identity import Principal
from agent_memory_server.errors import TooManyRequests
from agent_memory_server.services.quotas import CALLERS_MAX, ModelTokenQuota, RequestQuota, on_account_of


def refused(quota: RequestQuota, caller: Principal) -> int:
    """After how many seconds the next request will pass; 0 when this one does."""
    try:
        quota.admit(caller)
    except TooManyRequests as error:
        return error.retry_after_s
    return 0


def test_a_bucket_refills_steadily() -> None:
    """A burst of a whole minute's requests passes, then one every two seconds; waiting as long as was said is enough."""
    seconds = [0.0]
    quota = RequestQuota(30, clock_s=lambda: seconds[0])
    caller = Principal(subject="a")
    assert [refused(quota, caller) for _ in range(31)] == [0] * 30 + [2]
    seconds[0] += 2
    assert [refused(quota, caller) for _ in range(2)] == [0, 2]
    seconds[0] += 3_600
    assert sum(refused(quota, caller) == 0 for _ in range(60)) == 30


def test_callers_do_not_share_a_bucket() -> None:
    """The same subject in another tenant is another caller; the number of callers that are remembered is bounded."""
    quota = RequestQuota(1, clock_s=lambda: 0.0)
    one, other = Principal(subject="a", tenant="x"), Principal(subject="a", tenant="y")
    assert [refused(quota, one), refused(quota, other), refused(quota, one)] == [0, 0, 60]
    for number in range(CALLERS_MAX):
        quota.admit(Principal(subject=str(number)))
    assert refused(quota, one) == 0


@pytest.mark.parametrize("callers", [1, 3])
def test_without_a_limit_everything_passes(callers: int) -> None:
    """The default."""
    quota = RequestQuota(None)
    for number in range(1_000):
        quota.admit(Principal(subject=str(number % callers)))


def test_model_tokens_may_be_overdrawn_once() -> None:
    """What an answer costs is known afterwards: then its caller waits until the debt is paid, and others do not."""
    seconds = [0.0]
    quota = ModelTokenQuota(3_600, clock_s=lambda: seconds[0])
    on_account_of("acme", "a")
    quota.check()
    quota.charge(3_610)
    with pytest.raises(TooManyRequests) as refused:
        quota.check()
    assert refused.value.retry_after_s == 11
    on_account_of("acme", "b")
    quota.check()
    on_account_of("acme", "a")
    seconds[0] += 11
    quota.check()
