"""A reactor that the running loop drives, whichever loop that is."""

import asyncio
import weakref

from ._native import Reactor

# Where a loop has its host. Extension modules that are linked with oneloop have reactors, and names, of their own.
_ATTRIBUTE = f"_{__name__.replace('.', '_')}"


def host(loop=None):
    """Returns the reactor of a loop, which the loop drives: asyncio's, uvloop's, or Twisted's reactor.

    Without an argument, the loop is the one that runs in this thread. The first call for a loop makes the reactor. It
    lives as long as the loop.
    """
    if loop is None:
        loop = asyncio.get_running_loop()
    own = getattr(loop, "reactor", None)
    if isinstance(own, Reactor):
        return own
    hosted = getattr(loop, _ATTRIBUTE, None)
    if hosted is None:
        outer = _Twisted(loop) if hasattr(loop, "addReader") else _Asyncio(loop)
        hosted = _Host(outer)
        setattr(loop, _ATTRIBUTE, hosted)
        hosted.step()
    return hosted.reactor


def release(loop):
    """Ends what `host` has begun, and closes the reactor."""
    hosted = getattr(loop, _ATTRIBUTE, None)
    if hosted is not None:
        delattr(loop, _ATTRIBUTE)
        hosted.end()


class _Host:
    def __init__(self, outer):
        self.reactor = Reactor()
        self.reactor.set_exception_handler(outer.report)
        self._outer = outer
        self._watches = False

    def step(self):
        """Steps the reactor, as its callbacks' loop: see `oneloop::Step` in Rust."""
        while True:
            next = self.reactor._step()
            if next == "watch":
                self._outer.watch(self.reactor.fileno(), self.step)
                self._watches = True
            elif next == "unwatch":
                self._stop_watching()
            elif next == "yield" and not self._watches:
                return self._outer.call_again(self.step)
            else:
                return None

    def _stop_watching(self):
        if self._watches:
            self._watches = False
            self._outer.unwatch()

    def end(self):
        self._stop_watching()
        self.reactor._unhost()
        self.reactor.close()


class _Asyncio:
    def __init__(self, loop):
        # The loop has the host, and not the other way round.
        self._loop = weakref.ref(loop)
        self._fd = None

    def watch(self, fd, step):
        self._fd = fd
        self._loop().add_reader(fd, step)

    def unwatch(self):
        loop = self._loop()
        if loop is not None and not loop.is_closed():
            loop.remove_reader(self._fd)

    def call_again(self, step):
        self._loop().call_soon(step)

    def report(self, exception):
        loop = self._loop()
        context = {"message": "Exception in a callback of the reactor", "exception": exception}
        if loop is not None:
            loop.call_exception_handler(context)


class _Twisted:
    """Twisted's reactor, which watches objects with these methods."""

    def __init__(self, reactor):
        self._reactor = weakref.ref(reactor)
        self._fd = None
        self._step = None

    def watch(self, fd, step):
        self._fd, self._step = fd, step
        self._reactor().addReader(self)

    def unwatch(self):
        self._reactor().removeReader(self)

    def call_again(self, step):
        self._reactor().callLater(0, step)

    def report(self, exception):
        from twisted.python import failure, log

        log.err(failure.Failure(exception))

    def fileno(self):
        return self._fd

    def doRead(self):
        self._step()

    def connectionLost(self, reason):
        pass

    def logPrefix(self):
        return "oneloop"
