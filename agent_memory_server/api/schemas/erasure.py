"""Erasing a memory, a session, or everything of a user or a namespace, on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from agent_memory_server.api.schemas.values import Body, ScopeName
from agent_memory_server.domain.limits import LIMITS


class EraseUserQuery(Body):
    namespace: ScopeName | None = Field(default=None, description="Only what the user has in this namespace.")
    dry_run: bool = Field(default=True, description="Change nothing; the task's result counts what would go.")


class EraseNamespaceQuery(Body):
    dry_run: bool = Field(default=True, description="Change nothing; the task's result counts what would go.")


class EraseOneQuery(Body):
    """Whose memory or session is meant, where several owners have one of the same id."""

    namespace: ScopeName | None = None
    user_id: ScopeName | None = None
    dry_run: bool = Field(
        default=True, description="Change nothing; the task's result counts it, without what was made of it."
    )


class RefusedContentBody(Body):
    """A text and whose it would be."""

    text: Annotated[str, Field(min_length=1, max_length=LIMITS.text_length_max)]
    namespace: ScopeName | None = None
    user_id: ScopeName | None = None


class RefusedContentCheck(Body):
    refused: bool = Field(description="This text of this owner was erased and is refused when it comes again.")
    since: datetime | None


class RefusedContentAllowed(Body):
    allowed: bool = Field(description="It was refused, and may come again from now on.")


class ReceiptBody(Body):
    """A receipt: the ``result`` of an erasure's task, as it is."""

    model_config = ConfigDict(extra="allow", frozen=True)


class ReceiptCheck(Body):
    genuine: bool = Field(description="This server signed exactly this receipt.")
