"""oneloop's own tests in Python."""

import asyncio
import contextvars
import gc
import os
import selectors
import signal
import socket
import sys
import threading
import time
import unittest
import weakref

import oneloop


class GuestLoop(oneloop.EventLoop):
    """A guest, and the reactor is driven by itself."""

    @staticmethod
    def _drive(reactor):
        reactor.run()


LOOPS = [asyncio.SelectorEventLoop, oneloop.EventLoop, GuestLoop, oneloop.tokio_event_loop]


def run(main, loop_factory):
    return oneloop.run(main, loop_factory=loop_factory)


class ReactorTest(unittest.TestCase):
    def test_calls_are_made_in_order_and_with_their_arguments(self):
        reactor, made = oneloop.Reactor(), []
        reactor.call_soon(made.append, 1)
        reactor.call_soon(made.append, 2)
        reactor.call_later(0.002, made.append, 4)
        reactor.call_later(0.001, made.append, 3)
        while len(made) < 4:
            reactor.turn(1)
        # Which comes first, a post or a timer that is due, is not said.
        self.assertEqual([[n for n in made if n in pair] for pair in ((1, 2), (3, 4))], [[1, 2], [3, 4]])

    def test_a_cancelled_call_is_not_made(self):
        reactor = oneloop.Reactor()
        soon, later = reactor.call_soon(self.fail), reactor.call_later(0, self.fail)
        self.assertTrue(soon.cancel() and later.cancel())
        self.assertFalse(soon.cancel() or later.cancel())
        self.assertEqual(reactor.turn(0), 0)

    def test_another_thread_wakes_the_reactor(self):
        reactor = oneloop.Reactor()
        thread = threading.Thread(target=lambda: reactor.call_soon(reactor.stop))
        reactor.call_soon(thread.start)
        reactor.run()
        thread.join()

    def test_a_handler_is_called_until_it_is_removed(self):
        reactor, seen = oneloop.Reactor(), []
        a, b = socket.socketpair()
        with a, b:
            handler = reactor.add_handler(a, selectors.EVENT_READ, seen.append)
            b.send(b"x")
            reactor.turn(1)
            reactor.turn(1)
            self.assertEqual(seen, [selectors.EVENT_READ] * 2)
            handler.update(0)
            self.assertEqual(reactor.turn(0), 0)
            handler.update(selectors.EVENT_WRITE)
            reactor.turn(1)
            self.assertEqual(seen.pop(), selectors.EVENT_WRITE)
            handler.remove()
            self.assertEqual(reactor.turn(0), 0)
            self.assertRaises(ValueError, handler.remove)

    def test_an_edge_is_reported_once(self):
        reactor, seen = oneloop.Reactor(), []
        a, b = socket.socketpair()
        with a, b:
            handler = reactor.add_handler(a, selectors.EVENT_READ, seen.append, edge=True)
            b.send(b"x")
            reactor.turn(1)
            self.assertEqual((reactor.turn(0), len(seen)), (0, 1))
            handler.remove()

    def test_bad_arguments_are_refused(self):
        reactor = oneloop.Reactor()
        with self.assertRaises(OSError) as refused:
            reactor.add_handler(987654, selectors.EVENT_READ, print)
        self.assertIn("987654", str(refused.exception))
        self.assertRaises(ValueError, reactor.add_handler, 0, 8, print)
        self.assertRaises(ValueError, reactor.call_later, float("nan"), print)
        self.assertRaises(TypeError, reactor.add_handler, "0", 1, print)
        reactor.close()
        self.assertRaises(RuntimeError, reactor.call_soon, print)
        self.assertRaises(RuntimeError, reactor.turn, 0)

    def test_an_exception_is_reported_and_the_next_call_is_made(self):
        reactor, seen = oneloop.Reactor(), []
        reactor.set_exception_handler(seen.append)
        reactor.call_soon(lambda: 1 / 0)
        reactor.call_soon(seen.append, 2)
        reactor.turn(0)
        self.assertIsInstance(seen[0], ZeroDivisionError)
        self.assertEqual(seen[1:], [2])

    def test_an_exit_ends_the_driver(self):
        reactor = oneloop.Reactor()
        reactor.call_soon(sys.exit, 3)
        with self.assertRaises(SystemExit) as exit:
            reactor.run()
        self.assertEqual(exit.exception.code, 3)

    def test_a_call_has_its_context(self):
        reactor, variable, seen = oneloop.Reactor(), contextvars.ContextVar("variable"), []
        context = contextvars.copy_context()
        context.run(variable.set, 7)
        reactor.call_soon(lambda: seen.append(variable.get()), context=context)
        reactor.turn(0)
        self.assertEqual(seen, [7])

    def test_the_collector_finds_a_reactor_that_its_own_callbacks_hold(self):
        class Holder:
            pass

        holder = Holder()
        holder.reactor = oneloop.Reactor()
        holder.reactor.call_later(1000, lambda holder: None, holder)
        gone = weakref.ref(holder)
        del holder
        gc.collect()
        self.assertIsNone(gone())


class LoopTest(unittest.TestCase):
    def test_a_sleep_is_not_early_and_the_loop_goes_on(self):
        async def main():
            begun = time.monotonic()
            await asyncio.sleep(0.01)
            self.assertGreaterEqual(time.monotonic() - begun, 0.01)

        for factory in LOOPS:
            run(main(), factory)

    def test_ctrl_c_ends_a_loop_that_sleeps(self):
        async def main():
            # After the loop has gone to sleep for good.
            reactor = oneloop.host()
            timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
            reactor.call_soon(timer.start)
            await asyncio.sleep(1000)

        for factory in LOOPS[1:]:
            with self.assertRaises(KeyboardInterrupt):
                run(main(), factory)

    def test_a_signal_handler_of_the_loop_is_called(self):
        async def main():
            came = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, came.set)
            os.kill(os.getpid(), signal.SIGUSR1)
            await came.wait()
            asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)

        for factory in LOOPS:
            run(main(), factory)

    def test_a_number_that_means_another_file_by_now_is_watched(self):
        async def main():
            loop, read = asyncio.get_running_loop(), asyncio.Event()
            a, b = socket.socketpair()
            number = a.fileno()
            loop.add_reader(number, self.fail)
            a.close()  # without remove_reader
            c, d = socket.socketpair()
            if c.fileno() != number:
                os.dup2(c.fileno(), number)
            loop.add_reader(number, read.set)
            d.send(b"x")
            await asyncio.wait_for(read.wait(), 10)
            loop.remove_reader(number)
            for it in (b, c, d):
                it.close()

        # asyncio's own loop never calls it.
        for factory in LOOPS[1:]:
            run(main(), factory)

    def test_a_closed_descriptor_with_a_living_dup_costs_nothing_after_removal(self):
        async def main():
            loop = asyncio.get_running_loop()
            a, b = socket.socketpair()
            dup = a.dup()
            number = a.fileno()
            loop.add_reader(number, lambda: None)
            a.close()
            loop.remove_reader(number)
            b.send(b"x")
            begun = time.process_time()
            await asyncio.sleep(0.2)
            self.assertLess(time.process_time() - begun, 0.1)
            dup.close()
            b.close()

        for factory in LOOPS[1:]:
            run(main(), factory)

    def test_a_blocking_descriptor_stays_blocking(self):
        async def main():
            a, b = socket.socketpair()
            loop, read = asyncio.get_running_loop(), asyncio.Event()
            loop.add_reader(a, read.set)
            b.send(b"x")
            await read.wait()
            loop.remove_reader(a)
            self.assertTrue(os.get_blocking(a.fileno()))
            a.close()
            b.close()

        for factory in LOOPS:
            run(main(), factory)

    def test_more_descriptors_than_a_turn_reports_are_all_selected(self):
        selector = oneloop.Selector()
        pipes = [os.pipe() for _ in range(1100)]
        for read, write in pipes:
            os.write(write, b"x")
            selector.register(read, selectors.EVENT_READ)
        self.assertEqual(len(selector.select(0)), len(pipes))
        selector.close()
        for pipe in pipes:
            os.close(pipe[0])
            os.close(pipe[1])

    def test_stop_in_a_guest_ends_the_guest_only(self):
        reactor = oneloop.Reactor()
        loop = oneloop.EventLoop(reactor)
        loop.attach()
        loop.call_soon(loop.stop)
        reactor.call_later(0.01, reactor.stop)
        reactor.run()
        self.assertFalse(loop.is_running())
        loop.close()

    def test_a_loop_is_attached_once_and_not_while_it_runs(self):
        loop = oneloop.EventLoop()
        with loop:
            self.assertRaises(RuntimeError, loop.attach)
            self.assertRaises(RuntimeError, loop.run_forever)
        loop.close()
        self.assertRaises(RuntimeError, loop.attach)

    def test_tokio_does_not_drive_a_thread_twice(self):
        async def main():
            with self.assertRaisesRegex(RuntimeError, "tokio"):
                oneloop._native.run_tokio(oneloop.Reactor())

        run(main(), oneloop.tokio_event_loop)

    def test_two_guests_share_a_reactor(self):
        reactor, seen = oneloop.Reactor(), []

        async def main(name):
            for _ in range(3):
                await asyncio.sleep(0.001)
                seen.append((name, asyncio.get_running_loop()))

        with oneloop.EventLoop(reactor) as a, oneloop.EventLoop(reactor) as b:
            tasks = [a.create_task(main("a")), b.create_task(main("b"))]
            while not all(task.done() for task in tasks):
                reactor.turn(1)
        self.assertEqual({pair for pair in seen}, {("a", a), ("b", b)})
        self.assertEqual(len(seen), 6)
        a.close()
        b.close()

    def test_loops_leave_nothing_behind(self):
        def descriptors():
            return len(os.listdir("/proc/self/fd"))

        async def main():
            oneloop.host().call_soon(lambda: None)
            await asyncio.sleep(0)

        def pages():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1])

        loops = int(os.environ.get("ONELOOP_PYTHON_LOOPS", 20))
        for factory in LOOPS:
            for _ in range(1 + loops // 5):
                run(main(), factory)
            gc.collect()
            before = descriptors(), pages()
            for _ in range(loops):
                run(main(), factory)
            gc.collect()
            self.assertEqual(descriptors(), before[0], factory)
            self.assertLess(pages() - before[1], 512, factory)

    def test_a_forked_child_gets_an_error(self):
        reactor = oneloop.Reactor()
        child = os.fork()
        if child == 0:
            try:
                reactor.turn(0)
            except RuntimeError:
                os._exit(7)
            os._exit(1)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 7)


class HostTest(unittest.TestCase):
    def test_the_running_loop_drives_the_reactor(self):
        async def main():
            reactor, called = oneloop.host(), asyncio.Event()
            self.assertIs(oneloop.host(), reactor)
            reactor.call_later(0.001, called.set)
            await called.wait()
            a, b = socket.socketpair()
            called.clear()
            handler = reactor.add_handler(a, selectors.EVENT_READ, lambda events: called.set())
            b.send(b"x")
            await called.wait()
            handler.remove()
            a.close()
            b.close()

        for factory in LOOPS:
            run(main(), factory)

    def test_exceptions_go_to_the_loop(self):
        seen = []

        async def main():
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: seen.append(context["exception"]))
            oneloop.host().call_soon(lambda: 1 / 0)
            while not seen:
                await asyncio.sleep(0)

        run(main(), asyncio.SelectorEventLoop)
        self.assertIsInstance(seen[0], ZeroDivisionError)

    def test_a_released_reactor_is_closed(self):
        async def main():
            reactor = oneloop.host()
            oneloop.release(asyncio.get_running_loop())
            self.assertRaises(RuntimeError, reactor.call_soon, print)
            self.assertIsNot(oneloop.host(), reactor)

        run(main(), asyncio.SelectorEventLoop)

    def test_outside_a_loop_there_is_no_host(self):
        self.assertRaises(RuntimeError, oneloop.host)


if __name__ == "__main__":
    unittest.main()
