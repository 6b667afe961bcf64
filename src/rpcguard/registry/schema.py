"""
The operator's vocabulary: every key of the registry, its type, its range and its meaning.

With `fields`, `models` and `editor`, the only place that knows pydantic; the loader and the command
line import it, the request path does not. The docstring below each field is what editors show. A
key that is absent is None; an empty list is not. Longer than other modules because a vocabulary is
read in one piece.

Annotations are no texts here (`from __future__`): pydantic would compile each by itself, 2 ms.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError

from rpcguard.registry import fields
from rpcguard.registry.fields import (
    AbsolutePath,
    Filled,
    HeaderName,
    Instant,
    Name,
    NonEmpty,
    OneOrMany,
    OneOrWord,
    SecretText,
    Text,
    YesNo,
)
from rpcguard.registry.models import Model, validator

Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"
]
Encoding = Literal["utf8", "hex", "base64", "base64url"]
Permission = Literal["allow", "deny"]


class Allow(Model):
    """Policy: kinds are joined by AND, entries of one kind by OR. An empty list allows nothing."""

    methods: list[Text] | None = None
    """JSON-RPC methods; `*` stands for any characters, as in `eth_get*`."""
    ips: list[Text] | None = None
    """Addresses and networks of callers, such as `10.0.0.0/8`."""
    origins: list[Text] | None = None
    """Origins of browsers, such as `https://app.example.com` or `https://*.example.com`."""
    user_agents: list[Text] | None = None
    """Texts of which the User-Agent must hold one."""
    addresses: list[Text] | None = None
    """Contracts and accounts that calls may touch, `0x` and 40 hex digits."""
    missing_origin: Permission | None = None
    """Whether a request without Origin passes `origins`; default deny."""


class KeyLimits(Model):
    """How often one caller may call; of a kind that the project limits too, this one counts."""

    per_key: OneOrMany[fields.Rate] | None = None
    """Requests with this key or wallet, such as `10/second` or `[10/second, 1000/day]`."""
    per_subject: OneOrMany[fields.Rate] | None = None
    """Requests of each subject that this key proves."""


class Limits(KeyLimits):
    """How often callers may call; all that apply must be kept."""

    per_ip: OneOrMany[fields.Rate] | None = None
    """Requests of one client address, counted before anything is checked."""
    per_key: OneOrMany[fields.Rate] | None = None
    """Requests with one key or wallet."""
    per_subject: OneOrMany[fields.Rate] | None = None
    """Requests of one subject."""
    per_project: OneOrMany[fields.Rate] | None = None
    """Requests of all callers together."""


class _Dated(Model):
    name: Name | None = None
    """What people call it."""
    not_before: Instant | None = None
    """When it begins to count (RFC 3339, with a zone)."""
    not_after: Instant | None = None
    """When it ends (RFC 3339, with a zone)."""

    def check(self) -> None:
        """What ends begins before that."""
        start, end = self.not_before, self.not_after
        if start is not None and end is not None and start >= end:
            raise fields.fault((("not_after",), "must be later than not_before"))


class Secret(_Dated):
    """One shared secret; several at once make a rotation."""

    id: Name
    """Its id; a token's `kid` may name it."""
    secret: SecretText
    """The secret: `${env:NAME}` or `${file:PATH}`."""
    allow_weak: YesNo | None = None
    """Accept a secret that is shorter than its algorithm's hash (RFC 7518 section 3.2)."""
    encoding: Encoding | None = None
    """How the secret is written; default `secret_encoding` of the project."""
    allow: Allow | None = None
    """Policy for callers with this secret, besides the project's."""
    limits: KeyLimits | None = None
    """How often callers with this secret may call."""


class Key(_Dated):
    """One key: a public key, a secret, or the auth key and enc key of an order API."""

    kid: Name | None = None
    """Its id, which tokens name in their header."""
    alg: Algorithm | None = None
    """Its one algorithm; may be left out where the type of the key decides it."""
    public_key: fields.PemText | None = Field(default=None, repr=False)  # may be a private one
    """PEM text, mostly `${file:PATH}`."""
    secret: SecretText | None = None
    """A shared secret in place of a public key."""
    auth_key: Name | None = None
    """What the caller sends to name the key."""
    enc_key: SecretText | None = None
    """The secret that belongs to auth_key."""
    allow_weak: YesNo | None = None
    """Accept a secret that is shorter than its algorithm's hash (RFC 7518 section 3.2)."""
    encoding: Encoding | None = None
    """How the secret is written; default `secret_encoding` of the project."""
    allow: Allow | None = None
    """Policy for callers with this key, besides the project's."""
    limits: KeyLimits | None = None
    """How often callers with this key may call."""

    def check(self) -> None:
        """A key has one material, whole, and something to know it by."""
        super().check()
        pair = self.auth_key is not None, self.enc_key is not None
        materials = (self.public_key is not None) + (self.secret is not None) + any(pair)
        if materials != 1:
            raise fields.fault(
                ((), "needs exactly one of public_key, secret, or auth_key with enc_key")
            )
        if any(pair) and not all(pair):
            raise fields.fault(((), "auth_key and enc_key belong together"))
        if self.kid is None and self.auth_key is None:
            raise fields.fault((("kid",), "required"))


class EncryptionKey(_Dated):
    """One key that opens encrypted tokens (JWE); what signs the token inside is in `keys`."""

    kid: Name
    """Its id, which tokens name in their outer header."""
    alg: Literal["dir", "RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A256KW"]
    """Its one algorithm."""
    enc: Literal["A256GCM"] | None = None
    """How the content is encrypted; A256GCM."""
    secret: SecretText | None = None
    """For dir: 32 bytes that both sides have."""
    private_key: SecretText | None = None
    """For the others: PEM text, `${file:PATH}`, of RSA, P-256, P-384 or X25519."""
    encoding: Encoding | None = None
    """How the secret is written; default `secret_encoding` of the project."""

    def check(self) -> None:
        """The material is what the algorithm needs."""
        super().check()
        wanted, other = ("secret", "private_key")[:: 1 if self.alg == "dir" else -1]
        if getattr(self, wanted) is None:
            raise fields.fault(((), f"{self.alg} needs {wanted}"))
        if getattr(self, other) is not None:
            raise fields.fault(((other,), f"{self.alg} has no use for it"))


class Encryption(Model):
    """Tokens that are encrypted besides being signed; needs `rpcguard[jwe]`."""

    keys: NonEmpty[EncryptionKey]
    """Keys that open them."""
    required: YesNo | None = None
    """Refuse tokens that are not encrypted; default false."""


class ApiKey(_Dated):
    """One API key, known by its digest alone."""

    id: Name
    """Its id."""
    digest: fields.Digest
    """`sha256:` and the lower-case hex digest of the whole key."""
    allow: Allow | None = None
    """Policy for callers with this key, besides the project's."""
    limits: KeyLimits | None = None
    """How often callers with this key may call."""


class Wallet(Model):
    """One wallet that may call."""

    pubkey: Text
    """Its public key, in the encoding of the signature scheme (Solana: base58)."""
    name: Name | None = None
    """What people call it."""
    min_version: fields.MinVersion | None = None
    """The oldest signature version it may use."""
    allow: Allow | None = None
    """Policy for this wallet, besides the project's."""
    limits: KeyLimits | None = None
    """How often this wallet may call."""


class SignatureHeaders(Model):
    """The request headers that carry a signature."""

    pubkey: HeaderName
    """Public key of the caller."""
    signature: HeaderName
    """The signature."""
    timestamp: HeaderName
    """Unix seconds at which it was made."""
    nonce: HeaderName
    """A text that works once."""
    version: HeaderName | None = None
    """Which of `versions` it is."""


class SignatureVersion(Model):
    """One form of the signed text."""

    payload: Text
    """The signed text, with words in braces such as `{method}:{path}:{timestamp}:{nonce}`."""
    echo: dict[HeaderName, Literal["method", "path", "target"]] | None = None
    """Headers that must repeat a fact of the real request."""


class SignatureSpec(Model):
    """How requests are signed, one by one."""

    headers: SignatureHeaders
    """Names of the headers."""
    algorithm: Literal["Ed25519"] = "Ed25519"
    """The signature algorithm."""
    encoding: Literal["base58", "base64", "hex"]
    """How key and signature are written."""
    versions: Annotated[dict[Name, SignatureVersion], Filled()]
    """The signed text, by version."""
    default_version: Name
    """The version of a request that names none."""
    timestamp: Text
    """Regular expression for the whole timestamp."""
    window: fields.Window
    """How far the timestamp may be from now, both ways."""
    nonce: Text
    """Regular expression for the whole nonce."""
    refuse_nonce: Text | None = None
    """Regular expression for the beginning of nonces to refuse."""


class ApiKeySpec(Model):
    """Where callers put an API key."""

    read: NonEmpty[Literal["bearer", "header", "path", "query"]] | None = None
    """The places."""
    prefix: fields.KeyPrefix | None = None
    """What tells a key from a token behind `Bearer`."""
    header: HeaderName | None = None
    """The header, for `header`."""
    query: fields.QueryName | None = None
    """The query parameter, for `query`."""
    min_version: fields.MinVersion | None = None
    """The oldest signature version to which a key is issued."""


class SessionSecret(_Dated):
    """One secret that signs session tokens."""

    id: Name
    """Its id."""
    secret: SecretText
    """The secret: `${env:NAME}` or `${file:PATH}`."""
    encoding: Encoding | None = None
    """How the secret is written; default utf8."""


class Session(Model):
    """Challenge, session token, and refresh."""

    service: fields.ServiceName | None = None
    """The first word of a challenge."""
    secrets: NonEmpty[SessionSecret] | None = None
    """Secrets that sign session tokens; the first active one signs, all active ones verify."""
    secret: SecretText | None = None
    """Short form of one secret."""
    ttl: fields.Lifetime | None = None
    """How long a session token lives; default 1h."""
    refresh: Literal["off", "rotating"] | None = None
    """Whether refresh tokens are given; default off."""
    refresh_ttl: fields.Lifetime | None = None
    """How long a refresh token lives; default 30d."""

    def check(self) -> None:
        """There is one form of secrets."""
        if self.secret is not None and self.secrets is not None:
            raise fields.fault((("secret",), "choose secret or secrets"))


class Refusal(Model):
    """What refusals look like, where a provider's differ."""

    status: fields.Status | None = None
    """HTTP status of refused credentials and policy."""
    code: fields.Code | None = None
    """JSON-RPC error code."""
    messages: dict[fields.Slug, Text] | None = None
    """Message by reason."""


class Match(Model):
    """Which requests belong to the project."""

    path: OneOrMany[Text] | None = None
    """Path prefixes, matched by whole segments."""
    host: OneOrMany[Text] | None = None
    """Host names, without port."""


class Project(Model):
    """One endpoint: who may call it, and how they prove who they are."""

    preset: Text
    """Name of a shipped preset, or path of a YAML file, relative to this one."""
    match: Match | None = None
    """Which requests belong here; one project may have none: the default."""
    id: Name | None = None
    """What errors show; default the project's name."""
    schemes: NonEmpty[Literal["jwt", "signature", "api_key", "session"]] | None = None
    """Kinds of credential."""
    algorithms: NonEmpty[Algorithm] | None = None
    """Algorithms that keys may have."""
    key_by: Literal["kid", "secret", "header"] | None = None
    """How a token's key is found: by `kid`, by trying every active secret, or by a header."""
    key_header: HeaderName | None = None
    """The header, for `key_by: header`."""
    key_claim: Text | None = None
    """The claim that must equal that header."""
    time_unit: Literal["s", "ms"] | None = None
    """Unit of `iat`, `nbf` and `exp`; default s."""
    types_first: YesNo | None = None
    """Refuse claims of a wrong type before the signature is checked."""
    required: list[Text] | None = None
    """Claims that a token must have; default [exp]."""
    typ: NonEmpty[Text] | None = None
    """Values that the header `typ` may have; default [JWT]."""
    leeway: fields.Leeway | None = None
    """Clock tolerance for `exp` and `nbf`; default 0."""
    iat_leeway: fields.Leeway | None = None
    """How far ahead `iat` may be; default 5s."""
    iat_window: fields.Window | None = None
    """How far `iat` may be from now, both ways; default no bound."""
    max_lifetime: fields.Lifetime | None = None
    """The most that `exp` may be after `iat`; default no bound."""
    lifetime_grace: fields.Leeway | None = None
    """Added to max_lifetime; default 1s."""
    max_ahead: fields.Lifetime | None = None
    """The most that `exp` may be after now; default no bound."""
    audience: OneOrMany[Text] | None = None
    """Values of `aud`, one of which a token must have."""
    audience_suffix: fields.AudienceSuffix | None = None
    """What `aud`, if present, must end with, at a label boundary."""
    aud: Literal["ignore"] | None = None
    """`ignore`: a token's `aud` is not looked at."""
    issuer: OneOrMany[Text] | None = None
    """Values of `iss`, one of which a token must have."""
    subject_claim: Text | None = None
    """The claim that names the caller; default sub."""
    url_claim: Text | None = None
    """The claim that must equal the request's path."""
    digest_claim: Text | None = None
    """The claim that must equal the digest over digest_fields."""
    digest_fields: dict[AbsolutePath, NonEmpty[Text]] | None = None
    """Fields of the JSON body that the digest binds, by path."""
    unbound_paths: Permission | None = None
    """Whether a path without digest_fields is allowed; default deny."""
    single_use: YesNo | None = None
    """Accept each token once; default false."""
    revocation: YesNo | None = None
    """Look up revocations; without it a token survives a backend outage. Default true."""
    max_keys: fields.Count | None = None
    """The most keys that the project may have."""
    when_no_keys: Permission | None = None
    """Whether a request without a token passes while there is no `keys` at all; default deny."""
    secret_encoding: Encoding | None = None
    """How secrets are written; default utf8."""
    secret_bytes: fields.SecretBytes | None = None
    """The exact size of a secret."""
    secrets: list[Secret] | None = None
    """Shared secrets, every active one is tried."""
    keys: list[Key] | None = None
    """Keys by id; an empty list refuses everybody."""
    encryption: Encryption | None = None
    """Take encrypted tokens too, or alone."""
    api_keys: list[ApiKey] | None = None
    """API keys by digest."""
    wallets: Annotated[Literal["open"] | list[Wallet] | None, OneOrWord("open", list[Wallet])] = (
        None
    )
    """`open` for any wallet, or a list."""
    min_version: fields.MinVersion | None = None
    """The oldest signature version that is taken."""
    signature: SignatureSpec | None = None
    """How requests are signed."""
    api_key: ApiKeySpec | None = None
    """Where API keys are read."""
    session: Session | None = None
    """Sessions, if they are wanted."""
    allow: Allow | None = None
    """Policy for every caller."""
    narrowing: NonEmpty[Literal["methods", "addresses", "origins"]] | None = None
    """Claims of a token that narrow what it may do, as `allow` would; default none."""
    limits: Limits | None = None
    """How often callers may call; needs `rpcguard[limits]`."""
    refusals: Literal["jsonrpc", "bare"] | None = None
    """A JSON-RPC response, or the error object alone; default jsonrpc."""
    refusal: Refusal | None = None
    """Status, code and messages of refusals."""
    require_https: YesNo | None = None
    """Refuse plain HTTP; default false."""
    public_prefix: AbsolutePath | None = None
    """Path prefix that a proxy strips before requests come here."""
    max_nonces: fields.Count | None = None
    """Live nonces of the project; default 1000000."""
    max_subject_nonces: fields.Count | None = None
    """Live nonces of one caller; default 10000."""
    max_records: fields.Count | None = None
    """Live API keys and refresh tokens of the project; default 1000000."""
    max_subject_records: fields.Count | None = None
    """Live API keys and refresh tokens of one caller; default 1000."""


class Bounds(Model):
    """Bounds on what a request makes the guard do."""

    max_credential: fields.CredentialSize = 8 << 10
    """Bytes of one credential; default 8KiB."""
    max_body: fields.BodySize = 5 << 20
    """Bytes of a body that the guard reads; default 5MiB."""
    max_batch: fields.Batch = 100
    """Calls in one JSON-RPC batch; default 100."""
    body_timeout: fields.BodyTimeout = 30.0
    """How long a body that the guard reads may take, where the server lets it say; default 30s."""
    issuing_timeout: fields.IssuingTimeout = 5.0
    """How long a caller of a route that issues credentials waits in an event loop; default 5s."""


def _nobody() -> list[str]:  # of `list`, pydantic parses a signature written in C
    return []


class Registry(Model):
    """The key registry of rpcguard."""

    version: fields.Version
    """Version of this vocabulary."""
    backend: Text = Field(default="sqlite:///rpcguard.db", repr=False)  # may hold a password
    """URL of where nonces and revocations are kept: memory:, sqlite:, redis: and the like."""
    trusted_proxies: list[Text] = Field(default_factory=_nobody)
    """Addresses and networks of proxies whose X-Forwarded-* count; `unix` for socket peers."""
    bounds: Bounds = Bounds.model_construct()  # whose defaults need no validator
    """What is read at most."""
    max_server_skew: fields.Skew = 30.0
    """How far the clocks of the servers may differ; default 30s."""
    projects: Annotated[dict[fields.ProjectName, Project], Filled()]
    """The projects, by name."""


def validate(data: object) -> tuple[Registry | None, list[Any]]:
    """
    Return the registry that *data* describes, or pydantic's errors, without any input values.

    Args:
        data: Mappings, lists and texts.
    """
    try:
        return validator(Registry).validate_python(data), []
    except ValidationError as error:
        return None, list(error.errors(include_url=False, include_input=False))


def known_keys(loc: tuple[str | int, ...]) -> list[str]:
    """Return the keys that the mapping at *loc* may have; none where the operator chooses them."""
    model: type[BaseModel] = Registry
    named = False  # the next step is a name that the operator chose
    for step in loc:
        if isinstance(step, int):
            continue
        if named:
            named = False
            continue
        field = model.model_fields.get(step)
        inner = _model_in(field.annotation) if field else None
        if field is None or inner is None:
            return []
        model, named = inner, "dict[" in str(field.annotation)
    return [] if named else list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
