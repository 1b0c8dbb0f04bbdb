"""Django: what was decided for a request, in views and templates. See docs/frameworks.md.

INSTALLED_APPS = [..., "understudy.middleware.django"]
"""

from understudy.middleware.found import missing

try:
    from understudy.middleware.django.views import decision, variant, variants
except ImportError as error:
    if error.name is None or error.name.partition(".")[0] != "django":
        raise
    raise missing(__name__, "Django", "django") from error

__all__ = ["decision", "variant", "variants"]
