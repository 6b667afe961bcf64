"""Where nonces and revocations are kept: `memory` in one process, `sqlite` on one machine."""
