"""Erasing memories, sessions, users and namespaces, and checking the receipts of it."""

from __future__ import annotations

from agent_memory_server.api.answers import Answer, answer
from agent_memory_server.api.operations import Call, Operation
from agent_memory_server.api.schemas.erasure import (
    EraseNamespaceQuery,
    EraseOneQuery,
    EraseUserQuery,
    ReceiptBody,
    ReceiptCheck,
    RefusedContentAllowed,
    RefusedContentBody,
    RefusedContentCheck,
)
from agent_memory_server.api.schemas.tasks import TaskResponse, task_wire
from agent_memory_server.domain.erasure import Target
from agent_memory_server.domain.identity import Permission
from agent_memory_server.errors import InvalidInput


async def erase_user(call: Call) -> Answer:
    """Erase everything of a user for good: sessions, messages, memories, their histories, and what was made of them.

    A dry run unless ``dry_run=false``. The answer is a task; when it has succeeded its ``result`` is the signed receipt with
    counts by kind. It goes on after a crash. Nothing of it can be undone.
    """
    query = call.query(EraseUserQuery)
    user_id = _named(call, "user_id")
    return await _erased(call, Target(namespace=query.namespace, user_id=user_id), dry_run=query.dry_run)


async def erase_namespace(call: Call) -> Answer:
    """Erase everything in a namespace for good, of all users. Otherwise as for a user."""
    query = call.query(EraseNamespaceQuery)
    namespace = _named(call, "namespace")
    return await _erased(call, Target(namespace=namespace), dry_run=query.dry_run)


async def erase_session(call: Call) -> Answer:
    """Erase a session for good, with its messages, what was extracted from it, and what was made of that.

    What ``DELETE`` with ``cascade=true`` does, as a task that ends with a signed receipt. A dry run unless ``dry_run=false``.
    404 if there is none.
    """
    query = call.query(EraseOneQuery)
    session = Target(namespace=query.namespace, user_id=query.user_id, session_id=call.path_id("session_id"))
    return await _erased(call, session, dry_run=query.dry_run)


async def erase_memory(call: Call) -> Answer:
    """Erase a memory for good, with every revision, its exact copies and what was made of it; also one that a policy forgot,
    whose text is still kept for undo.

    What ``DELETE`` does, as a task that ends with a signed receipt. A dry run unless ``dry_run=false``. 404 if there is none.
    """
    query = call.query(EraseOneQuery)
    memory = Target(namespace=query.namespace, user_id=query.user_id, memory_id=call.path_id("memory_id"))
    return await _erased(call, memory, dry_run=query.dry_run)


async def check_receipt(call: Call) -> Answer:
    """Whether this server signed the receipt that is the body, and nothing in it was changed since."""
    receipt = await call.body(ReceiptBody)
    return answer({"genuine": await call.app.erasure.is_genuine(receipt.model_extra or {})})


async def check_refused_content(call: Call) -> Answer:
    """Whether a text of an owner was erased and is refused when it comes again (``REFUSE_ERASED_CONTENT``)."""
    body = await call.body(RefusedContentBody)
    since = await call.app.refused_content.check(
        call.caller, text=body.text, namespace=body.namespace, user_id=body.user_id
    )
    return answer({"refused": since is not None, "since": since})


async def allow_refused_content(call: Call) -> Answer:
    """Let a text that was erased come again. Only a digest of it is kept, so it has to be said."""
    body = await call.body(RefusedContentBody)
    allowed = await call.app.refused_content.allow(
        call.caller, text=body.text, namespace=body.namespace, user_id=body.user_id
    )
    return answer({"allowed": allowed})


def _named(call: Call, name: str) -> str:
    """The user or namespace that the path names."""
    value = call.path_id(name)
    if not value.strip():
        raise InvalidInput("must not be blank", field=("path", name), kind="blank")
    return value


async def _erased(call: Call, target: Target, *, dry_run: bool) -> Answer:
    erasure = call.app.erasure
    act = erasure.plan_as_task if dry_run else erasure.begin
    return answer(task_wire(await act(call.caller, target)))


OPERATIONS = (
    Operation(
        method="POST", path="/v1/users/{user_id}/erase", handler=erase_user, permission=Permission.ADMIN,
        query=EraseUserQuery, answers=TaskResponse, fails=(404,),
    ),
    Operation(
        method="POST", path="/v1/namespaces/{namespace}/erase", handler=erase_namespace, permission=Permission.ADMIN,
        query=EraseNamespaceQuery, answers=TaskResponse, fails=(404,),
    ),
    Operation(
        method="POST", path="/v1/working-memory/{session_id}/erase", handler=erase_session, permission=Permission.WRITE,
        query=EraseOneQuery, answers=TaskResponse, fails=(404, 409),
    ),
    Operation(
        method="POST", path="/v1/long-term-memory/{memory_id}/erase", handler=erase_memory, permission=Permission.WRITE,
        query=EraseOneQuery, answers=TaskResponse, fails=(404, 409),
    ),
    Operation(
        method="POST", path="/v1/erasure-receipts/check", handler=check_receipt, permission=Permission.READ,
        body=ReceiptBody, answers=ReceiptCheck,
    ),
    Operation(
        method="POST", path="/v1/refused-content/check", handler=check_refused_content, permission=Permission.ADMIN,
        body=RefusedContentBody, answers=RefusedContentCheck, fails=(404,),
    ),
    Operation(
        method="POST", path="/v1/refused-content/allow", handler=allow_refused_content, permission=Permission.ADMIN,
        body=RefusedContentBody, answers=RefusedContentAllowed, fails=(404,),
    ),
)  # fmt: skip
