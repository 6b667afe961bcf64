"""
What rpcguard gives out: challenges, session tokens, refresh tokens, API keys; and takes back.

Every function asks for the time and uses one generation of the registry. The routes of all three
frameworks come here; they are rare and small, so there is one synchronous form.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rpcguard import owed, strict_json
from rpcguard.authenticator import Authenticator, refuse_encoded
from rpcguard.backends.base import Backend
from rpcguard.ending import end_family, log_out
from rpcguard.errors import AuthError, BackendError
from rpcguard.keys import check_ed25519, verify_ed25519
from rpcguard.owed import Answer, Nonce, Owed, Verdict
from rpcguard.pending import Pending
from rpcguard.principal import Principal
from rpcguard.project import Project
from rpcguard.request import Request
from rpcguard.schemes.api_key import ApiKeyScheme
from rpcguard.schemes.challenge import SLOTS, Challenge
from rpcguard.schemes.signature_rules import KEY_BYTES, SIGNATURE_BYTES
from rpcguard.sessions import Family, Issued, Sessions
from rpcguard.steps import Asked
from rpcguard.turns import Turns

MAX_BODY = 8 * 1024  # bytes of a sign-in's body
_turns = Turns(SLOTS)


@dataclass(slots=True)
class Desk:
    """
    Where one caller signs in or out of one project.

    Attributes:
        authenticator: The generation of the registry.
        project: The project.
        backend: Its backend.
        now: Unix seconds.
        caller: Who has been proved so far, for the audit trail; None for nobody.
    """

    authenticator: Authenticator
    project: Project
    backend: Backend
    now: float
    caller: Principal | None = None

    def refused(self, error: AuthError) -> AuthError:
        """Give a refusal the project's form, and the log the name of who was refused."""
        if self.caller is not None:
            error.caller = self.caller.who
        return self.project.dress(error)

    def challenge(self, request: Request) -> dict[str, Any]:
        """`POST /auth/challenge {"pubkey"}`: something to sign, derived and not stored."""
        sessions, pubkey, _ = self._sign_in(request)
        shard = owed.bucket(self.project.name, pubkey)
        epoch = self.backend.epoch(shard)
        challenges = sessions.signing(self.now).challenges.at(pubkey, self.now, epoch)
        names = [challenge.name for challenge in challenges]
        spent = self.backend.spent(self.project.name, pubkey, names, self.now)
        first = _turns.take()
        for turn in range(SLOTS):
            challenge = challenges[(first + turn) % SLOTS]
            if challenge.name not in spent:
                return {"challenge": challenge.text}
        raise AuthError("rate_limited", detail="this key has used every challenge of this minute")

    def verify(self, request: Request) -> dict[str, Any]:
        """`POST /auth/verify {"pubkey", "signature"}`: a session for who signed the challenge."""
        sessions, pubkey, body = self._sign_in(request)
        try:
            public = sessions.decode(pubkey, KEY_BYTES)
            signature = sessions.decode(_text(body, "signature"), SIGNATURE_BYTES)
        except ValueError as error:
            raise AuthError("invalid_body", detail=f"signature: {error}") from None
        meant = body.get("challenge")
        if meant is not None and not isinstance(meant, str):
            raise AuthError("invalid_body", detail="challenge is not a string")
        challenge = self._signed(sessions, pubkey, public, signature, meant)
        self.caller = self._holder(pubkey)
        self._check_wallet(sessions, pubkey, request)
        nonce = Nonce(
            challenge.name,
            challenge.ends + sessions.skew,
            sessions.project_limit,
            sessions.subject_limit,
        )
        banned = owed.key_name(self.project.name, pubkey)
        self._settle(Owed(self.project.name, pubkey, self.now, (banned,), nonce))
        return self.session(pubkey, {})

    def _signed(
        self, sessions: Sessions, pubkey: str, public: bytes, signature: bytes, meant: str | None
    ) -> Challenge:
        epoch = self.backend.epoch(owed.bucket(self.project.name, pubkey))
        secrets = sessions.active(self.now)
        if meant is None:
            secrets = secrets[:1]  # else there were more signatures to check with each of them
        for secret in secrets:
            for challenge in secret.challenges.recent(pubkey, self.now, epoch):
                text = challenge.text.encode("utf-8")
                if meant is not None and not hmac.compare_digest(meant.encode("utf-8"), text):
                    continue
                if verify_ed25519(public, text, signature):
                    return challenge
        raise AuthError("invalid_credentials", cause="bad_signature")

    def session(self, subject: str, claims: Mapping[str, Any]) -> dict[str, Any]:
        """
        Return a new session of *subject* as the routes answer it: `token` and `expiresAt` (Unix
        seconds), and where refresh is on, `refreshToken` and `refreshExpiresAt`.

        Raises:
            ValueError: If *claims* names a claim that rpcguard sets.
            AuthError: `rate_limited` or `backend_unavailable`, if there is no room for it.
            BackendError: If the backend could not record the refresh token.
        """
        sessions = self._sessions()
        if sessions.refresh_ttl is None:
            issued = sessions.mint(subject, self.now, claims)
            return {"token": issued.token, "expiresAt": issued.expires_at}
        issued, text, record = sessions.start(subject, self.now, claims)
        self._conclude(self.backend.put(record, self.now))
        return _answer(issued, text, record)

    def refresh(self, request: Request) -> dict[str, Any]:
        """`POST /auth/refresh {"refreshToken"}`: the next pair; an old one ends its family."""
        sessions = self._sessions()
        self._check_caller(request)
        text = _text(_body(request), "refreshToken")
        family = Family.of(text)
        if sessions.refresh_ttl is None or family is None:
            raise AuthError("invalid_credentials", detail="refresh is off, or not such a token")
        project = self.project.name
        name, slot = owed.refresh_name(project, text), owed.session_name(project, family.sid)
        asked = Owed(project, record=name, slot=slot, bucket=family.bucket)
        value = self._current(sessions, family, self.backend.settle(asked, self.now))
        self._check_wallet(sessions, json.loads(value)["sub"], request)
        issued, text, record = sessions.renew(family, value, self.now)
        self._current(sessions, family, self.backend.rotate(name, record, self.now))
        return _answer(issued, text, record)

    def _current(self, sessions: Sessions, family: Family, answer: Answer) -> str:
        """Return the value of *family*'s record for its present token; an old one ends it."""
        value = answer.record or "{}"
        if answer.record is not None:  # who shows an old token has had it: a thief, or the subject
            self.caller = self._holder(json.loads(value)["sub"])
        if answer.verdict is Verdict.REPLAYED:
            end_family(sessions, self.backend, family, value, self.now)
        self._conclude(answer)
        return value

    def _holder(self, subject: str) -> Principal:
        return Principal(subject, self.project.name, "session")

    def _check_wallet(self, sessions: Sessions, pubkey: str, request: Request) -> None:
        if sessions.wallets is not None:
            wallet = sessions.wallets.find(pubkey)
            if wallet.allow is not None:
                wallet.allow.check_caller(self.authenticator.callers.facts(request))

    def logout(self, request: Request) -> dict[str, Any]:
        """`POST /auth/logout` with a session token: ends it, and its family, everywhere."""
        sessions = self._sessions()
        pending = self._authenticated(request, self.project, frozenset({"session"}))
        principal = self._settle_pending(pending)
        self._conclude(log_out(sessions, self.backend, principal, self.now))
        return {"revoked": True}

    def api_key(self, request: Request) -> dict[str, Any]:
        """`POST /account/api-key`, signed by the wallet: a new key in place of the previous one."""
        issuer = self.project.key_issuer
        if issuer is None:
            raise AuthError("no_project", detail="this project issues no API keys")
        principal = self._settle_pending(self._authenticated(request, issuer, None))
        return {"apiKey": self.new_key(principal.subject, None)}

    def new_key(self, subject: str, expires_at: float | None) -> str:
        """
        Return a new API key of *subject*; the previous one ends at once.

        Raises:
            LookupError: If the project issues no keys.
            AuthError: `rate_limited` or `backend_unavailable`, if there is no room for it.
            BackendError: If the backend could not record it.
        """
        for scheme in self.project.schemes:
            if isinstance(scheme, ApiKeyScheme):
                text, record = scheme.issue(subject, self.now, expires_at)
                self._conclude(self.backend.put(record, self.now))
                return text
        raise LookupError(f"project {self.project.name!r} issues no API keys")

    def _sessions(self) -> Sessions:
        if self.project.sessions is None:
            raise AuthError("no_project", detail="this project has no sessions")
        return self.project.sessions

    def _sign_in(self, request: Request) -> tuple[Sessions, str, dict[str, Any]]:
        sessions = self._sessions()
        if sessions.wallets is None:
            raise AuthError("no_project", detail="this project has no wallets to sign in with")
        self._check_caller(request)
        body = _body(request)
        pubkey = _text(body, "pubkey")
        try:
            check_ed25519(sessions.decode(pubkey, KEY_BYTES))
        except ValueError as error:
            raise AuthError("invalid_body", detail=f"pubkey: {error}") from None
        return sessions, pubkey, body

    def _check_caller(self, request: Request) -> None:
        self.authenticator.callers.check_https(self.project, request)
        if self.project.policy is not None:
            self.project.policy.check_caller(self.authenticator.callers.facts(request))

    def _authenticated(
        self, request: Request, project: Project, schemes: frozenset[str] | None
    ) -> Pending:
        asked = Asked(project, schemes, calls=False, counted=True)
        step = self.authenticator.authenticate(request, self.now, asked)
        if not isinstance(step, Pending):
            raise AuthError("body_too_large")
        return step

    def _settle_pending(self, pending: Pending) -> Principal:
        try:
            answer = self.backend.settle(pending.owed, self.now) if pending.owed else None
        except BackendError as error:
            raise pending.unavailable(str(error)) from error
        self.caller = pending.conclude(answer)
        return self.caller

    def _settle(self, questions: Owed) -> None:
        self._conclude(self.backend.settle(questions, self.now))

    def _conclude(self, answer: Answer) -> None:
        nobody = Principal("", self.project.name, "none")
        Pending(lambda _: nobody, Owed(), self.project.dress).conclude(answer)


ROUTES: Mapping[str, Callable[[Desk, Request], dict[str, Any]]] = {
    "/auth/challenge": Desk.challenge,
    "/auth/verify": Desk.verify,
    "/auth/refresh": Desk.refresh,
    "/auth/logout": Desk.logout,
    "/account/api-key": Desk.api_key,
}


def _answer(issued: Issued, text: str, record: owed.Record) -> dict[str, Any]:
    return {
        "token": issued.token,
        "expiresAt": issued.expires_at,
        "refreshToken": text,
        "refreshExpiresAt": record.expires_at,
    }


def _body(request: Request) -> dict[str, Any]:
    refuse_encoded(request.fields(frozenset({"content-encoding"})))
    if request.body is None or len(request.body) > MAX_BODY:
        raise AuthError("body_too_large")
    try:
        document = strict_json.loads(request.body)
    except ValueError as error:
        raise AuthError("invalid_body", detail=str(error)) from None
    if not isinstance(document, dict):
        raise AuthError("invalid_body", detail="not a JSON object")
    return document


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise AuthError("invalid_body", detail=f"{name} is missing or not a string")
    return value
