"""Erasing everything of a user or a namespace, on the wire."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from agent_memory_server.api.schemas.values import Body, ScopeName


class EraseUserQuery(Body):
    namespace: ScopeName | None = Field(default=None, description="Only what the user has in this namespace.")
    dry_run: bool = Field(default=True, description="Change nothing; the task's result counts what would go.")


class EraseNamespaceQuery(Body):
    dry_run: bool = Field(default=True, description="Change nothing; the task's result counts what would go.")


class ReceiptBody(Body):
    """A receipt: the ``result`` of an erasure's task, as it is."""

    model_config = ConfigDict(extra="allow", frozen=True)


class ReceiptCheck(Body):
    genuine: bool = Field(description="This server signed exactly this receipt.")
