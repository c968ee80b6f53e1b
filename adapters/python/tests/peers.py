"""Runs the test suites of asyncio, Tornado, Twisted and uvloop on oneloop, and compares them, test by test, with
asyncio's own loop in the same run. Of uvloop's, those run that it has for asyncio.

    peers.py SUITE [MODE ...]     SUITE is asyncio, tornado, twisted or uvloop, MODE is selector, guest or tokio

A module of a suite runs in a process of its own. Fails if a test ends otherwise than on asyncio's own loop, twice, unless
EXPECTED below names it.
"""

import collections
import concurrent.futures
import importlib
import json
import logging
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import unittest

MODES = ["selector", "guest", "tokio"]

# Tests whose outcome differs, by mode, and the reason.
FORKED = "a child forks inside tokio, which takes the child for itself, and begins no second runtime there"
EXPECTED = {
    "tokio": {
        "test.test_asyncio.test_events.TestCGetEventLoop.test_get_event_loop_new_process": FORKED,
        "test.test_asyncio.test_events.TestPyGetEventLoop.test_get_event_loop_new_process": FORKED,
    },
}

PACKAGES = {
    "asyncio": "test.test_asyncio",
    "tornado": "tornado.test",
    "twisted": "twisted.internet.test",
    "uvloop": "uvloop_tests",
}

# Seconds for one module.
PATIENCE = 300


def loop_class(mode):
    import oneloop

    class GuestLoop(oneloop.EventLoop):
        """A guest, and the reactor is driven by itself."""

        @staticmethod
        def _drive(reactor):
            reactor.run()

    return {"selector": oneloop.EventLoop, "guest": GuestLoop, "tokio": oneloop.TokioEventLoop}[mode]


def replace_loop(mode):
    """Makes oneloop's loop asyncio's default, under all of its names."""
    import asyncio

    stock = asyncio.SelectorEventLoop

    class SelectorEventLoop(loop_class(mode)):
        def __new__(cls, selector=None):
            # A test that brings another selector is about that.
            return super().__new__(cls) if selector is None else stock(selector)

        def __init__(self, selector=None):
            super().__init__()

    # uvloop's tests tell asyncio's loop by it.
    SelectorEventLoop.__module__ = stock.__module__
    policy = asyncio.unix_events.DefaultEventLoopPolicy
    policy._loop_factory = SelectorEventLoop
    asyncio.SelectorEventLoop = asyncio.unix_events.SelectorEventLoop = SelectorEventLoop
    if hasattr(asyncio, "EventLoop"):
        asyncio.EventLoop = asyncio.unix_events.EventLoop = SelectorEventLoop


class Recorder:
    """Notes the outcome of each test, by its name."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.outcomes = collections.defaultdict(set)

    def startTest(self, test):
        super().startTest(test)
        self.outcomes[test.id()]

    def addSuccess(self, test):
        super().addSuccess(test)
        self.outcomes[test.id()].add("passed")

    def addError(self, test, *error):
        super().addError(test, *error)
        self.outcomes[test.id()].add("failed")

    def addFailure(self, test, *error):
        super().addFailure(test, *error)
        self.outcomes[test.id()].add("failed")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.outcomes[test.id()].add("skipped")

    def addExpectedFailure(self, test, *error):
        super().addExpectedFailure(test, *error)
        self.outcomes[test.id()].add("passed")

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self.outcomes[test.id()].add("failed")


def run_unittest(module):
    class Result(Recorder, unittest.TextTestResult):
        pass

    if module.startswith("tornado."):
        # As Tornado's own runner does: its tests fail on logs that they do not expect.
        logging.getLogger("tornado.access").setLevel(logging.CRITICAL)
    try:
        suite = unittest.defaultTestLoader.loadTestsFromName(module)
    except unittest.SkipTest:
        return {module: {"skipped"}}
    if module.startswith("uvloop_tests."):
        suite = unittest.TestSuite(test for test in leaves(suite) if getattr(test, "implementation", "") == "asyncio")
    return unittest.TextTestRunner(verbosity=2, resultclass=Result).run(suite).outcomes


def leaves(suite):
    """The tests of a suite, without its tree."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from leaves(test)
        else:
            yield test


def run_trial(module):
    import asyncio

    from twisted.internet import asyncioreactor

    asyncioreactor.install(asyncio.SelectorEventLoop())
    from twisted.trial import reporter, runner

    class Result(Recorder, reporter.VerboseTextReporter):
        pass

    folder = tempfile.mkdtemp()
    suite = runner.TestLoader().loadByName(module)
    return runner.TrialRunner(Result, workingDirectory=os.path.join(folder, "trial")).run(suite).outcomes


def one(mode, module, file):
    """Runs one module, and writes the outcomes into a file."""
    # A shell's background jobs ignore it, and tests that wait for it would never end.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if mode != "stock":
        replace_loop(mode)
    outcomes = run_trial(module) if module.startswith("twisted.") else run_unittest(module)
    with open(file, "w") as out:
        json.dump({name: sorted(all) for name, all in outcomes.items()}, out)


def modules(suite):
    package = PACKAGES[suite]
    found = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return [f"{package}.{it.name}" for it in found if it.name.startswith("test_") or it.name.endswith("_test")]


def run(mode, module):
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "outcomes")
        command = [sys.executable, __file__, "--one", mode, module, file]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE)
            output = done.stdout
        except subprocess.TimeoutExpired as error:
            output = (error.stdout or b"") + b"\nout of time"
        try:
            with open(file) as outcomes:
                return json.load(outcomes), output
        except FileNotFoundError:
            return {module: ["no outcome"]}, output


def outcomes(mode, all):
    """The outcomes of all modules."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda module: run(mode, module), all))
    merged = {}
    for result, _ in done:
        merged.update(result)
    return merged


def count(results):
    counts = collections.Counter("failed" if "failed" in it else "+".join(it) for it in results.values())
    return ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))


def differences(before, now, module, known):
    """The tests of a module which end otherwise."""
    names = {name for name in before.keys() | now.keys() if name == module or name.startswith(module + ".")}
    return {name for name in names if before.get(name) != now.get(name) and name not in known}


def compare(suite, modes):
    all = modules(suite)
    wanted = os.environ.get("ONELOOP_PEERS_ONLY")
    if wanted:
        all = [module for module in all if any(module.endswith(name) for name in wanted.split(","))]
    stock = outcomes("stock", all)
    print(f"{suite}, stock: {count(stock)}", flush=True)
    differs = False
    for mode in modes:
        results = outcomes(mode, all)
        print(f"{suite}, {mode}: {count(results)}", flush=True)
        known = EXPECTED.get(mode, {})
        suspects = {it for it in all if differences(stock, results, it, known)}
        for module in sorted(suspects):
            # Some tests depend on timing: a difference counts if it comes again.
            before, _ = run("stock", module)
            now, output = run(mode, module)
            again = differences(before, now, module, known) & differences(stock, results, module, known)
            for name in sorted(again):
                print(f"  {name}: {now.get(name)}, and {before.get(name)} on asyncio's own loop", flush=True)
                print_failure(name, output.decode(errors="replace"))
                differs = True
    return differs


def print_failure(name, output):
    method = name.rsplit(".", 1)[-1]
    parts = output.split("=" * 70)
    for part in parts:
        if f": {method} " in part[:200]:
            print("    " + part.strip().replace("\n", "\n    "))


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        one(*sys.argv[2:])
    else:
        sys.exit(compare(sys.argv[1], sys.argv[2:] or MODES))
