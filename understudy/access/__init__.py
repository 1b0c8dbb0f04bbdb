"""Who may do what, and what was done: roles, tokens, the audit chain. Pure: time and chance are arguments."""

from understudy.access.audit import Deed, Entry, Head, chain, flaws, read_entry, read_head
from understudy.access.backoff import Allowance, Backoff, network
from understudy.access.roles import Caller, Role, lowest, words
from understudy.access.token import Token, digest, is_usable, read_token, secret_matches, token_text

__all__ = [
    "Allowance",
    "Backoff",
    "Caller",
    "Deed",
    "Entry",
    "Head",
    "Role",
    "Token",
    "chain",
    "digest",
    "flaws",
    "is_usable",
    "lowest",
    "network",
    "read_entry",
    "read_head",
    "read_token",
    "secret_matches",
    "token_text",
    "words",
]
