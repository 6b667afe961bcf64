"""Which files are mutated, and the tests that judge the mutants of each."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = Path("src/rpcguard")

FILES: dict[str, tuple[str, ...]] = {
    "owed.py": ("test_owed.py",),
    "pending.py": ("test_owed.py", "test_limits.py", "test_audit.py"),
    "rates.py": ("test_limits.py",),
    "policy.py": ("test_policy.py", "test_limits.py"),
    "messages.py": ("test_messages.py",),
    "algorithms.py": ("test_keys.py", "test_algorithms.py"),
    "keys.py": ("test_keys.py", "test_keys_refused.py", "test_vectors_key_sets.py"),
    "schemes/base.py": ("schemes/test_base.py", "schemes/test_signature.py"),
    "schemes/binding.py": (
        "schemes/test_binding.py",
        "test_trace.py",
        "presets/test_oppiwallet.py",
    ),
    "schemes/challenge.py": ("schemes/test_challenge.py",),
    "schemes/claims.py": ("schemes/test_claims.py", "test_trace.py", "schemes/test_jwt.py"),
    "schemes/jws.py": ("test_jws.py", "schemes/test_jwt.py"),
    "schemes/jwt_keys.py": ("schemes/test_jwt.py", "test_trace.py", "test_short_way.py"),
    "schemes/jwt_rules.py": ("schemes/test_jwt.py",),
    "schemes/jwt_verified.py": (
        "schemes/test_jwt.py",
        "test_trace.py",
        "test_short_way.py",
        "presets/test_bearer.py",
        "presets/test_oppiwallet.py",
    ),
    "schemes/narrowing.py": ("schemes/test_narrowing.py",),
    "schemes/wallets.py": ("schemes/test_wallets.py", "schemes/test_signature.py"),
    "schemes/api_key.py": (
        "schemes/test_api_key.py",
        "test_trace.py",
    ),
    "schemes/signature_rules.py": ("schemes/test_signature.py", "presets/test_nodius.py"),
    "schemes/signature.py": (
        "schemes/test_signature.py",
        "test_trace.py",
        "presets/test_nodius.py",
        "presets/test_nodius_2026.py",
        "test_short_way_signed.py",
    ),
    "schemes/jwe.py": ("schemes/test_jwe.py",),
    "schemes/jwt.py": (
        "schemes/test_jwt.py",
        "test_trace.py",
        "schemes/test_jwt_fork.py",
        "test_short_way.py",
    ),
    "schemes/remembered.py": ("schemes/test_remembered.py",),
    "sessions.py": ("schemes/test_session.py",),
    "schemes/session.py": (
        "schemes/test_session.py",
        "test_trace.py",
    ),
    "authenticator.py": (
        "test_authenticator.py",
        "test_authenticator_targets.py",
        "test_authenticator_answers.py",
        "test_trace.py",
        "test_messages.py",
        "test_short_way.py",
        "test_short_way_signed.py",
    ),
    "places.py": (
        "test_places.py",
        "test_authenticator.py",
        "test_authenticator_targets.py",
        "test_trace.py",
        "test_short_way.py",
        "test_short_way_signed.py",
    ),
    "contrib/_fastapi_everywhere.py": ("contrib/test_everywhere.py",),
}
