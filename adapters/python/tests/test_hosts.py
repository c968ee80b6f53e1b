"""A reactor inside loops of others: uvloop's, and Twisted's own reactor."""

import asyncio
import selectors
import socket
import subprocess
import sys
import threading
import unittest

import oneloop
import uvloop


class HostsTest(unittest.TestCase):
    def test_uvloop_drives_a_reactor_in_its_own_thread(self):
        threads = set()

        async def main():
            reactor, came = oneloop.host(), asyncio.Event()
            self.assertIsInstance(asyncio.get_running_loop(), uvloop.Loop)
            a, b = socket.socketpair()

            def read(events):
                threads.add(threading.get_ident())
                a.recv(1)
                came.set()

            handler = reactor.add_handler(a, selectors.EVENT_READ, read)
            reactor.call_later(0.001, b.send, b"x")
            await came.wait()
            handler.remove()
            a.close()
            b.close()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
        self.assertEqual(threads, {threading.get_ident()})

    def test_twisteds_reactor_drives_a_reactor(self):
        # A process has one reactor of Twisted's.
        code = """if True:
            from twisted.internet import epollreactor
            epollreactor.install()
            from twisted.internet import reactor as twisted
            import oneloop

            reactor, calls = oneloop.host(twisted), []
            assert oneloop.host(twisted) is reactor
            def call():
                calls.append(1)
                if len(calls) < 3:
                    reactor.call_later(0.001, call)
                else:
                    twisted.callLater(0, twisted.stop)
            reactor.call_soon(call)
            twisted.run()
            oneloop.release(twisted)
            assert len(calls) == 3
        """
        subprocess.run([sys.executable, "-c", code], check=True)


if __name__ == "__main__":
    unittest.main()
