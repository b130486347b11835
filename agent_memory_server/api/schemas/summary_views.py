"""Summary views and their partitions on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, RootModel, field_validator, model_validator

from agent_memory_server.api.schemas.values import Body, Id, JsonObject, Name, ScopeName, Time
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.summary_views import GROUP_FIELDS, Partition, SummaryView, ViewDraft, ViewSource

ViewSourceName = Literal["long_term", "working_memory"]
GroupValue = Annotated[str, Field(max_length=LIMITS.id_length_max)]


class CreateSummaryViewRequest(Body):
    """Null means the default everywhere."""

    source: ViewSourceName
    name: Name | None = None
    group_by: list[Name] | None = Field(
        default=None, max_length=4 * len(GROUP_FIELDS), description=f"Of {', '.join(GROUP_FIELDS)}."
    )
    filters: JsonObject | None = Field(
        default=None,
        description="user_id, namespace, session_id, memory_type, extraction_strategy, topics: a text, a list (any of "
        "them) or an object of operators; event_date: a time or an object of operators.",
    )
    time_window_days: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    continuous: bool | None = Field(default=None, description="Refresh on a schedule.")
    prompt: Annotated[str, Field(max_length=LIMITS.view_prompt_length_max)] | None = Field(
        default=None, description="Instructions for the model; without a model they have no effect."
    )
    model_name: Name | None = None

    def to_draft(self) -> ViewDraft:
        return ViewDraft(
            source=ViewSource(self.source),
            name=self.name,
            group_by=tuple(self.group_by or ()),
            filters=self.filters or {},
            time_window_days=self.time_window_days,
            continuous=self.continuous is True,
            prompt=self.prompt,
            model_name=self.model_name,
        )


class SummaryViewResponse(Body):
    """A saved definition of summaries."""

    id: str
    name: str | None
    source: ViewSourceName
    group_by: list[str]
    filters: dict[str, Any]
    time_window_days: int | None
    continuous: bool
    prompt: str | None
    model_name: str | None


class SummaryViewList(RootModel[list[SummaryViewResponse]]):
    """Oldest first."""


class RunSummaryViewPartitionRequest(Body):
    """One value for each field that the view groups by. The bare group without ``group`` around it is accepted too."""

    group: dict[str, GroupValue] = Field(max_length=len(GROUP_FIELDS))
    force: bool | None = Field(default=None, description="Summarise anew even when nothing changed.")

    @model_validator(mode="before")
    @classmethod
    def _bare_group(cls, value: Any) -> Any:
        """The published Java client sends the group itself."""
        if not isinstance(value, dict) or "group" in value:
            return value  # pyright: ignore[reportUnknownVariableType]
        given: dict[str, Any] = dict(value)  # pyright: ignore[reportUnknownArgumentType]
        force = given.pop("force", None)
        return {"group": given, "force": force}


class RunSummaryViewRequest(Body):
    """An empty body means no wishes."""

    task_id: Id | None = Field(default=None, description="An id of your own for the task; unset: the server's.")
    force: bool | None = Field(default=None, description="Summarise anew even where nothing changed.")


class ForceQuery(Body):
    force: bool | None = None

    @field_validator("force", mode="before")
    @classmethod
    def _blank_is_unset(cls, value: object) -> object:
        """``?force=`` is what a client sends that has nothing to say."""
        return None if value == "" else value


class PartitionsQuery(Body):
    """Exact values of the group; a field that the view does not group by matches nothing."""

    user_id: ScopeName | None = None
    namespace: ScopeName | None = None
    session_id: ScopeName | None = None
    memory_type: Name | None = None
    limit: Annotated[int, Field(ge=1, le=LIMITS.partitions_page_max)] = LIMITS.partitions_page_max
    offset: Annotated[int, Field(ge=0, le=LIMITS.offset_max)] = 0

    def to_group(self) -> dict[str, str]:
        values = {name: getattr(self, name) for name in GROUP_FIELDS}
        return {name: value for name, value in values.items() if value is not None}


class SummaryViewPartitionResult(Body):
    """The summary of one group. ``empty_reason``: ``no_matching_memories``, or ``source_deleted`` until the next run."""

    view_id: str
    group: dict[str, str]
    summary: str
    memory_count: int = Field(ge=0)
    empty: bool
    empty_reason: str | None
    computed_at: Time


class SummaryViewPartitionList(RootModel[list[SummaryViewPartitionResult]]):
    """In the order of the groups; the header X-Total-Count counts those of all pages."""


def view_wire(view: SummaryView) -> dict[str, Any]:
    draft = view.draft
    return {
        "id": view.id,
        "name": draft.name,
        "source": draft.source.value,
        "group_by": list(draft.group_by),
        "filters": dict(draft.filters),
        "time_window_days": draft.time_window_days,
        "continuous": draft.continuous,
        "prompt": draft.prompt,
        "model_name": draft.model_name,
    }


def partition_wire(partition: Partition) -> dict[str, Any]:
    return {
        "view_id": partition.view_id,
        "group": dict(partition.group),
        "summary": partition.summary,
        "memory_count": partition.memory_count,
        "empty": partition.empty,
        "empty_reason": partition.empty_reason,
        "computed_at": partition.computed_at,
    }
