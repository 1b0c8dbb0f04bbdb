"""The admin server: REST, metrics, probes, and the report as a page. Talks to a ControlPlane only."""

from understudy.admin.audit_watch import AuditWatch
from understudy.admin.control import Change, ControlPlane, Readiness, Reload
from understudy.admin.environments import Environments
from understudy.admin.exposures import ExposurePlane, Met
from understudy.admin.in_force import Succession
from understudy.admin.issuer import Issuer
from understudy.admin.keyring import Keyring
from understudy.admin.ofrep_counts import OfrepCounts
from understudy.admin.refusal import Refusal
from understudy.admin.server import create_admin
from understudy.admin.store_tokens import make_token

__all__ = [
    "AuditWatch",
    "Change",
    "ControlPlane",
    "Environments",
    "ExposurePlane",
    "Issuer",
    "Keyring",
    "Met",
    "OfrepCounts",
    "Readiness",
    "Refusal",
    "Reload",
    "Succession",
    "create_admin",
    "make_token",
]
