"""
Everything rpcguard raises.

::

    RpcGuardError                 never raised itself
    ├── ConfigError (ValueError)  the registry or a setting is wrong; at load only
    ├── BackendError              the nonce and revocation backend did not answer
    └── AuthError                 the request is refused; `reason` says why

A fault of the caller, of the operator and of the backend are three classes, so that no `except`
can mistake one for another. No error carries a token, a signature, a secret or other input bytes;
a forbidden method's name is the one exception, short and of harmless letters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

# (HTTP status, JSON-RPC code, default message), by reason. The set is closed: clients switch on it.
REASONS: Mapping[str, tuple[int, int, str]] = MappingProxyType(
    {
        "ambiguous_credentials": (400, -32600, "more than one kind of credential"),
        "invalid_target": (400, -32600, "request target not acceptable"),
        "invalid_body": (400, -32600, "body is not a JSON-RPC request"),
        "missing_credentials": (401, -32001, "authentication required"),
        "malformed_credentials": (401, -32001, "credentials are malformed"),
        "unsupported_algorithm": (401, -32001, "algorithm or version not supported"),
        "invalid_credentials": (401, -32001, "credentials are not valid"),
        "expired": (401, -32001, "credentials have expired"),
        "not_yet_valid": (401, -32001, "credentials are not valid yet"),
        "invalid_claims": (401, -32001, "claims are not acceptable"),
        "invalid_audience": (401, -32001, "credentials are for another audience"),
        "invalid_binding": (401, -32001, "credentials are bound to another request"),
        "replayed": (401, -32001, "credentials were used before"),
        "revoked": (401, -32001, "credentials are revoked"),
        "forbidden_method": (403, -32003, "method not allowed"),
        "forbidden_address": (403, -32003, "address not allowed"),
        "forbidden_ip": (403, -32003, "client address not allowed"),
        "forbidden_origin": (403, -32003, "origin not allowed"),
        "forbidden_user_agent": (403, -32003, "user agent not allowed"),
        "not_listed": (403, -32003, "caller not listed"),
        "https_required": (403, -32003, "HTTPS required"),
        "no_project": (403, -32003, "no project serves this target"),
        "body_too_large": (413, -32600, "body too large"),
        "unsupported_encoding": (415, -32600, "content encoding not supported"),
        "rate_limited": (429, -32005, "too many requests"),
        "backend_unavailable": (503, -32002, "authentication backend unavailable"),
    }
)


class RpcGuardError(Exception):
    """Root of all errors that rpcguard raises; never raised itself."""


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One thing wrong with a registry: where it stands and what is wrong, never a value.

    Attributes:
        message: What is wrong.
        file: Path of the file, or "" when there is none.
        line: Line, counted from 1; 0 when unknown.
        column: Column, counted from 1; 0 when unknown.
        key: Path of keys to the place, such as ``projects.bsc.secrets[0].secret``.
        warning: True where the registry still loads.
    """

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    key: str = ""
    warning: bool = False

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        return ": ".join(part for part in (place, self.key, self.message) if part)


class ConfigError(RpcGuardError, ValueError):
    """
    The registry, a preset or a setting is wrong. Raised at load, never for a request.

    Attributes:
        problems: Every problem found, in the order of the file.
        files: The files read or looked for, so that a watcher can wait for their repair.
    """

    def __init__(self, *problems: Problem | str, files: tuple[str, ...] = ()) -> None:
        self.problems = tuple(p if isinstance(p, Problem) else Problem(p) for p in problems)
        self.files = files
        super().__init__("\n".join(map(str, self.problems)))


class BackendError(RpcGuardError):
    """The backend could not answer in time; the request must be refused with 503."""


class AuthError(RpcGuardError):
    """
    The request is refused.

    Attributes:
        reason: A slug of the closed set `REASONS`.
        status: HTTP status.
        code: JSON-RPC error code.
        message: Text for the caller.
        cause: A finer slug for logs and for a preset's own messages; "" when `reason` says all.
        detail: Measured facts for the operator's log; never sent, never holds input bytes.
        project: Id of the project that refused, or None when none was chosen.
        bare: Send the error object alone instead of a JSON-RPC response.
        challenges: Values for `WWW-Authenticate`, one header field each.
        retry_after: Seconds for `Retry-After`, or None.
        method: The first forbidden method, where its name is fit to be shown; else None.
        caller: Scheme, subject and key id of who was proved, where somebody was; for the log only.
        headers: Further header fields of the answer: the `RateLimit` fields of a 429.
    """

    def __init__(self, reason: str, *, cause: str = "", detail: str = "") -> None:
        self.status, self.code, self.message = REASONS[reason]
        self.reason = reason
        self.cause = cause
        self.detail = detail
        self.project: str | None = None
        self.bare = False
        self.challenges: tuple[str, ...] = ()
        self.retry_after: int | None = 1 if self.status in (429, 503) else None
        self.method: str | None = None
        self.caller: tuple[str, str, str | None] | None = None
        self.headers: tuple[tuple[str, str], ...] = ()
        super().__init__(reason)

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    def __repr__(self) -> str:
        return f"AuthError({self.reason!r}, status={self.status}, code={self.code})"
