"""`rpcguard revoke`: what was issued or accepted counts no more, in every process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rpcguard.cli.opened import RefusalError, carry_out, read_credential, refuse
from rpcguard.cli.output import say
from rpcguard.registry import schema
from rpcguard.verifier import Verifier

_DONE = {
    "token": "the token",
    "jti": "the token of this jti",
    "key": "everything that the key {} proves",
    "session": "the session {}",
    "subject": "everything issued to {} until now",
}


@dataclass(frozen=True, slots=True)
class Target:
    """
    What to revoke: one of these, where *jti* goes with the *key* that signed it.

    Attributes:
        subject: Everything issued to this subject until now.
        key: Everything that the key of this id proves.
        session: Every token with this `sid`.
        jti: The JWT with this `jti`.
        token_file: A file with the token, or "-" for standard input.
    """

    subject: str | None = None
    key: str | None = None
    session: str | None = None
    jti: str | None = None
    token_file: str | None = None

    @property
    def kinds(self) -> list[str]:
        """Return which are named; a key that goes with a `jti` is none."""
        named = {
            "subject": self.subject,
            "key": self.key if self.jti is None else None,
            "session": self.session,
            "jti": self.jti,
            "token": self.token_file,
        }
        return [kind for kind, value in named.items() if value is not None]


def revoke(file: Path, project: str, target: Target, until: float | None, *, as_json: bool) -> int:
    """
    Revoke *target* of *project* in the backend of the registry *file*; return the exit code.

    Args:
        file: The registry.
        project: Name of the project.
        target: One of its kinds.
        until: Unix seconds until which it can matter; None keeps it for good.
        as_json: Print JSON.

    Raises:
        OSError: If the token's file cannot be read.
    """
    (kind,) = target.kinds
    if "" in (target.subject, target.key, target.session, target.jti):
        return refuse("the name of what to revoke is empty", as_json=as_json)
    try:
        token = None if target.token_file is None else read_credential(target.token_file)
    except RefusalError as error:
        return refuse(str(error), as_json=as_json)

    def work(verifier: Verifier, _: schema.Registry) -> dict[str, Any]:
        verifier.revoke(
            project,
            subject=target.subject,
            key=target.key,
            session=target.session,
            token=token,
            jti=target.jti,
            expires_at=until,
        )
        return {"revoked": kind, "project": project, "until": until}

    def show(_: dict[str, Any]) -> None:
        named = _DONE[kind].format(target.subject or target.session or target.key)
        say(f"Revoked in {project}: {named}. Every process refuses it from its next request on.")

    return carry_out(file, work, show, as_json=as_json)
