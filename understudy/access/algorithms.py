"""How a JSON Web Token may be signed. Apart from what verifies, which takes long to import."""

from typing import Final

ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)
"""All of them asymmetric: no key that verifies can sign."""
