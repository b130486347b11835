"""Every failure the server raises on purpose, and the HTTP status it is answered with.

    MemoryServerError                      500
    ├── BadRequest                         400   understood, but refused by a rule of the contract
    ├── NotAuthenticated                   401
    ├── NotPermitted                       403
    ├── NotFound                           404   absent, or another's: the two look alike
    ├── RequestTimeout                     408   the body did not come in time
    ├── Conflict                           409
    │   ├── AmbiguousScope                 409   several visible records carry that id
    │   ├── MessageConflict                409   a known message id with other content
    │   └── NotUndoable                    409   an operation that cannot be taken back, and why
    ├── StaleRevision                      412   If-Match or If-None-Match did not hold
    ├── TooLarge                           413
    ├── InvalidInput                       422   names the field
    ├── TooManyRequests                    429
    ├── DependencyUnavailable              503   shown with Retry-After; never dressed as absence
    │   ├── StoreUnavailable               503
    │   │   ├── StoreBusy                  503   another writer held the store for too long
    │   │   ├── StoreCorrupt               503
    │   │   └── StoreTimeout               504
    │   ├── StoreFull                      507   no space: nothing of the request was stored
    │   ├── IssuerUnavailable              503   the keys that verify its tokens cannot be fetched
    │   ├── EmbedderUnavailable            503
    │   ├── RerankerUnavailable            503
    │   └── ModelUnavailable               503
    │       └── ModelAnswerUnusable        503   refusal, empty, cut or malformed
    └── ConfigurationError                 (at start only: the process exits with code 1 and this sentence)
        └── StoreTooNew                    the data was written by a newer version

Adapters translate their vendor's errors into these in one place each. A message here may reach a client: it never
holds a path, SQL, a stack or anything of another scope; such detail goes into ``__cause__`` and the log.
"""

from __future__ import annotations

from typing import ClassVar


class MemoryServerError(Exception):
    """Root of all deliberate failures; ``str(error)`` is the sentence a client may read."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal server error"

    @property
    def detail(self) -> str:
        return str(self) or self.title


class BadRequest(MemoryServerError):
    status = 400
    title = "Bad request"


class NotAuthenticated(MemoryServerError):
    """No credential, or one that is not valid. ``challenge`` is the answer's WWW-Authenticate (RFC 6750)."""

    status = 401
    title = "Not authenticated"

    def __init__(self, message: str = "", *, was_given: bool = False) -> None:
        super().__init__(message)
        self.challenge = 'Bearer error="invalid_token"' if was_given else "Bearer"


class NotPermitted(MemoryServerError):
    """The caller may not do this. ``challenge`` names the scope that its credential lacks (RFC 6750), None for other reasons."""

    status = 403
    title = "Not permitted"

    def __init__(self, message: str = "", *, scope: str | None = None) -> None:
        super().__init__(message)
        self.challenge = None if scope is None else f'Bearer error="insufficient_scope", scope="{scope}"'


class NotFound(MemoryServerError):
    status = 404
    title = "Not found"


class RequestTimeout(MemoryServerError):
    """A client took too long to send its body: a slow one must not hold what others need."""

    status = 408
    title = "Request timeout"


class Conflict(MemoryServerError):
    status = 409
    title = "Conflict"


class AmbiguousScope(Conflict):
    """Several records that the caller may see carry this id: name user_id or namespace."""

    title = "Ambiguous id"


class MessageConflict(Conflict):
    """A message id that is already stored came again with another role or content; nothing was applied."""

    title = "Message conflict"


class NotUndoable(Conflict):
    """The operation cannot be taken back: it is final, too old, undone already, or something came later (named)."""

    title = "Cannot be undone"


class StaleRevision(MemoryServerError):
    """The precondition of a conditional write did not hold; read again and retry."""

    status = 412
    title = "Precondition failed"


class TooLarge(MemoryServerError):
    status = 413
    title = "Too large"


class InvalidInput(MemoryServerError):
    """A value that cannot be accepted; ``field`` is the path of the value, as in ``("body", "memories", 0, "text")``."""

    status = 422
    title = "Invalid input"

    def __init__(self, message: str, *, field: tuple[str | int, ...] = ("body",), kind: str = "value_error") -> None:
        super().__init__(message)
        self.field = field
        self.kind = kind


class TooManyRequests(MemoryServerError):
    status = 429
    title = "Too many requests"

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DependencyUnavailable(MemoryServerError):
    """Something we depend on failed; ``retry_after_s`` is whole seconds, at least 1."""

    status = 503
    title = "Service unavailable"

    def __init__(self, message: str = "", *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StoreUnavailable(DependencyUnavailable):
    title = "Store unavailable"


class StoreBusy(StoreUnavailable):
    title = "Store busy"


class StoreCorrupt(StoreUnavailable):
    title = "Store corrupt"


class StoreTimeout(StoreUnavailable):
    status = 504
    title = "Store timed out"


class StoreFull(DependencyUnavailable):
    status = 507
    title = "Store full"


class IssuerUnavailable(DependencyUnavailable):
    """Whether a token is valid cannot be said now: never answered as if it were not."""

    title = "Token issuer unavailable"


class EmbedderUnavailable(DependencyUnavailable):
    title = "Embedding model unavailable"


class RerankerUnavailable(DependencyUnavailable):
    """The cross-encoder that is configured failed: a page in another order would look as if nothing was wrong."""


class ModelUnavailable(DependencyUnavailable):
    """A model call failed. ``retryable``: whether trying again can help (a wrong key cannot be waited away)."""

    title = "Language model unavailable"

    def __init__(self, message: str = "", *, retry_after_s: int = 1, retryable: bool = True) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.retryable = retryable


class ModelAnswerUnusable(ModelUnavailable):
    """The model answered, but with a refusal, nothing, a cut or a malformed answer: a failure, never data."""

    title = "Language model answer unusable"


class ConfigurationError(MemoryServerError):
    """Settings, or the data they point to, do not allow a start; says what to change."""

    title = "Configuration error"


class StoreTooNew(ConfigurationError):
    title = "Store written by a newer version"
