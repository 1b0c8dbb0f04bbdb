"""Front door 2: the middleware, inside the user's application. See docs/middleware.md."""

from understudy.middleware.asgi import UnderstudyMiddleware
from understudy.middleware.decision import Decision
from understudy.middleware.understudy import Understudy
from understudy.middleware.wsgi import UnderstudyWSGIMiddleware

__all__ = ["Decision", "Understudy", "UnderstudyMiddleware", "UnderstudyWSGIMiddleware"]
