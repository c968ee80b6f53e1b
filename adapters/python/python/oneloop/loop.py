"""asyncio's own loop on a reactor: as its selector, or as a guest of whichever code drives the reactor."""

import asyncio
import contextlib
import selectors
import signal
import sys
import threading
from asyncio import events

from . import _native
from ._native import Reactor, Watcher


class Selector(selectors._BaseSelectorImpl):
    """A selector of the module `selectors`, on a reactor. `select` takes turns of the reactor."""

    def __init__(self, reactor=None):
        super().__init__()
        self.reactor = Reactor() if reactor is None else reactor
        self._watcher = Watcher(self.reactor)

    def register(self, fileobj, events, data=None):
        key = super().register(fileobj, events, data)
        try:
            self._watcher.watch(key.fd, events)
        except BaseException:
            super().unregister(fileobj)
            raise
        return key

    def unregister(self, fileobj):
        key = super().unregister(fileobj)
        self._watcher.unwatch(key.fd)
        return key

    def modify(self, fileobj, events, data=None):
        key = self.get_key(fileobj)
        if not events or events & ~(selectors.EVENT_READ | selectors.EVENT_WRITE):
            raise ValueError(f"Invalid events: {events!r}")
        try:
            # With the same events as well: the number may mean another file than before.
            self._watcher.rewatch(key.fd, events)
        except BaseException:
            super().unregister(fileobj)
            raise
        key = key._replace(events=events, data=data)
        self._fd_to_key[key.fd] = key
        return key

    def select(self, timeout=None):
        ready = []
        keys = self._fd_to_key
        for fd, events in self._watcher.select(timeout):
            key = keys.get(fd)
            if key is not None and events & key.events:
                ready.append((key, events & key.events))
        return ready

    def close(self):
        self._watcher.close()
        super().close()


class EventLoop(asyncio.SelectorEventLoop):
    """asyncio's selector loop on a reactor.

    `run_forever` and what builds on it drive the reactor. `attach` makes the loop a guest instead: it then runs inside
    whichever loop drives the reactor.
    """

    # Drives the reactor while the loop is its guest. Without it, asyncio drives.
    _drive = None

    def __init__(self, reactor=None):
        self._is_guest = False
        self._takes_signals = False
        self._stops_driver = False
        super().__init__(Selector(reactor))

    @property
    def reactor(self):
        """The reactor, on which callbacks and Rust futures run beside asyncio's."""
        return self._selector.reactor

    def attach(self):
        """Makes the loop a guest of its reactor, until `detach` or `stop`.

        Raises RuntimeError if the loop runs or is closed.
        """
        self._check_closed()
        self._check_running()
        self._thread_id = threading.get_ident()
        self._set_coroutine_origin_tracking(self._debug)
        self._is_guest = True
        self._ask_for_steps(True)
        self._take_signals()
        try:
            self._selector._watcher.attach(self._step)
        except BaseException:
            self._end_guest()
            raise

    def detach(self):
        """Ends what `attach` has begun. The loop can be attached or run again."""
        if self._is_guest:
            self._selector._watcher.detach()
            self._end_guest()

    def __enter__(self):
        self.attach()
        return self

    def __exit__(self, *exception):
        self.detach()

    def run_forever(self):
        if self._drive is None:
            return super().run_forever()
        if events._get_running_loop() is not None:
            raise RuntimeError("Cannot run the event loop while another loop is running")
        self.attach()
        self._stops_driver = True
        try:
            with self._running():
                self._drive(self.reactor)
        finally:
            self._stops_driver = False
            self.detach()

    def close(self):
        if self._is_guest and not self.is_running():
            self.detach()
        super().close()

    def _end_guest(self):
        self._is_guest = False
        self._ask_for_steps(False)
        self._thread_id = None
        self._stopping = False
        self._set_coroutine_origin_tracking(False)
        self._leave_signals()

    def _step(self):
        """Takes one of asyncio's turns. Returns the seconds until the next one is due, or None."""
        if not self._is_guest:
            return None
        self._ask_for_steps(False)
        try:
            if self._stops_driver:
                self._run_once()
            else:
                with self._running():
                    self._run_once()
        finally:
            self._ask_for_steps(self._is_guest)
        if self._stopping:
            stops_driver = self._stops_driver
            self.detach()
            if stops_driver:
                self.reactor.stop()
            return None
        if self._ready:
            return 0.0
        if self._scheduled:
            return max(self._scheduled[0]._when - self.time(), 0.0)
        return None

    @contextlib.contextmanager
    def _running(self):
        """Makes this the running loop of the thread. Other guests set theirs in their steps."""
        outer = events._get_running_loop()
        hooks = sys.get_asyncgen_hooks()
        events._set_running_loop(self)
        self._thread_id = threading.get_ident()
        sys.set_asyncgen_hooks(firstiter=self._asyncgen_firstiter_hook, finalizer=self._asyncgen_finalizer_hook)
        try:
            yield
        finally:
            events._set_running_loop(outer)
            sys.set_asyncgen_hooks(*hooks)

    def stop(self):
        super().stop()
        if self._is_guest:
            self._selector._watcher.kick()

    # Each call from outside a step asks for one. These replace the methods of the same names meanwhile, which cost
    # nothing more inside a step that way. Their frame is no part of where a debugger looks for the caller.

    def _ask_for_steps(self, asks):
        if asks:
            self._call_soon = self._call_soon_and_ask
            self.call_at = self._call_at_and_ask
        else:
            vars(self).pop("_call_soon", None)
            vars(self).pop("call_at", None)

    def _call_soon_and_ask(self, callback, args, context):
        handle = super()._call_soon(callback, args, context)
        self._selector._watcher.kick()
        if handle._source_traceback:
            del handle._source_traceback[-1]
        return handle

    def _call_at_and_ask(self, when, callback, *args, context=None):
        handle = super().call_at(when, callback, *args, context=context)
        self._selector._watcher.kick()
        if handle._source_traceback:
            del handle._source_traceback[-1]
        return handle

    # Python's signal handlers run between two instructions of Python's. A host's wait would go on, so a signal has to
    # make a descriptor readable. There is one such descriptor per process.

    def _take_signals(self):
        try:
            before = signal.set_wakeup_fd(self._csock.fileno(), warn_on_full_buffer=False)
        except ValueError:
            # Signals are handled in another thread.
            return
        if before == -1:
            self._takes_signals = True
        else:
            # Another loop has it, which some code watches.
            signal.set_wakeup_fd(before)

    def _leave_signals(self):
        if not self._takes_signals:
            return
        self._takes_signals = False
        try:
            now = signal.set_wakeup_fd(-1)
        except ValueError:
            return
        if self._csock is None or now != self._csock.fileno() or self._signal_handlers:
            # It is another's by now, or asyncio's own, which keeps it between runs.
            signal.set_wakeup_fd(now)


class TokioEventLoop(EventLoop):
    """A loop which tokio drives. Rust futures that use tokio can be awaited on it."""

    @staticmethod
    def _drive(reactor):
        _native.run_tokio(reactor)


def new_event_loop():
    """A new loop, for `asyncio.run(main(), loop_factory=oneloop.new_event_loop)`."""
    return EventLoop()


def tokio_event_loop():
    """A new loop which tokio drives."""
    if not hasattr(_native, "run_tokio"):
        raise RuntimeError("this build of oneloop is without tokio")
    return TokioEventLoop()


def run(main, *, loop_factory=new_event_loop, debug=None):
    """Runs a coroutine on a new loop, like `asyncio.run`."""
    if sys.version_info >= (3, 11):
        with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
            return runner.run(main)
    if events._get_running_loop() is not None:
        raise RuntimeError("oneloop.run() cannot be called from a running event loop")
    loop = loop_factory()
    try:
        asyncio.set_event_loop(loop)
        if debug is not None:
            loop.set_debug(debug)
        return loop.run_until_complete(main)
    finally:
        try:
            asyncio.runners._cancel_all_tasks(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()
