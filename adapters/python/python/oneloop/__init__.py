"""One event loop for asyncio, Rust and callbacks."""

from ._native import Handle, Handler, Reactor
from .host import host, release
from .loop import EventLoop, Selector, TokioEventLoop, new_event_loop, run, tokio_event_loop

__all__ = [
    "EventLoop",
    "Handle",
    "Handler",
    "Reactor",
    "Selector",
    "TokioEventLoop",
    "host",
    "new_event_loop",
    "release",
    "run",
    "tokio_event_loop",
]
