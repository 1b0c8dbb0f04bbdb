"""Composition root: settings become processes, processes become objects in one TaskGroup each."""

from understudy.app.launch import serve

__all__ = ["serve"]
