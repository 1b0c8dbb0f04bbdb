"""Understudy lets a new backend rehearse on live traffic before it meets users."""

__version__ = "0.1.0"

__all__ = ["__version__"]
