"""The admin server: REST, metrics, probes, and the report as a page. Talks to a ControlPlane only."""

from understudy.admin.control import Change, ControlPlane, Readiness
from understudy.admin.server import create_admin

__all__ = ["Change", "ControlPlane", "Readiness", "create_admin"]
