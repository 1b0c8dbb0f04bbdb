"""Whether the code that runs here only rehearses, and so must neither rehearse others nor count."""

import contextvars

rehearsing: "contextvars.ContextVar[bool]" = contextvars.ContextVar("understudy_rehearsing", default=False)
"""True while a candidate or a control runs."""
