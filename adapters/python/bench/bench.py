"""Compares oneloop's loops with asyncio's own, and awaiting a Rust future with pyo3-async-runtimes, in processor time,
as ratios of one run.

    bench.py [ROUNDS]     with oneloop, uvloop, rloop and the module `awaits` of this folder to import: see `tests/more.sh`

Each round runs every loop once, in a process of its own. A figure is made of the least of the rounds, since others on the
machine only add to processor time. Of lateness it is the median.
"""

import asyncio
import importlib
import os
import statistics
import subprocess
import sys
import time


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Client(asyncio.Protocol):
    def __init__(self, messages):
        self.left = messages
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        transport.write(b"x" * 64)

    def data_received(self, data):
        self.left -= 1
        if self.left:
            self.transport.write(data)
        else:
            self.transport.close()
            self.done.set_result(None)


async def protocol_echo(connections, messages):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    clients = [await loop.create_connection(lambda: Client(messages), "127.0.0.1", port) for _ in range(connections)]
    begun = time.process_time()
    await asyncio.gather(*(client.done for _, client in clients))
    spent = time.process_time() - begun
    server.close()
    return spent


async def streams_echo(connections, messages):
    async def serve(reader, writer):
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    async def talk():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(messages):
            writer.write(b"x" * 64)
            await reader.readexactly(64)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    begun = time.process_time()
    await asyncio.gather(*(talk() for _ in range(connections)))
    spent = time.process_time() - begun
    server.close()
    return spent


async def timers():
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = 50_000

    def fire():
        nonlocal left
        left -= 1
        if not left:
            done.set_result(None)

    begun = time.process_time()
    for n in range(left):
        loop.call_later(n * 1e-7, fire)
    await done
    return time.process_time() - begun


async def tasks():
    async def task():
        await asyncio.sleep(0)

    begun = time.process_time()
    for _ in range(5):
        await asyncio.gather(*(task() for _ in range(10_000)))
    return time.process_time() - begun


async def lateness():
    late = []
    for _ in range(300):
        begun = time.perf_counter()
        await asyncio.sleep(0.0003)
        late.append(time.perf_counter() - begun - 0.0003)
    return statistics.median(late)


async def gathered(awaitable):
    begun = time.process_time()
    for _ in range(200):
        await asyncio.gather(*(awaitable() for _ in range(100)))
    return time.process_time() - begun


async def one_by_one(awaitable):
    begun = time.process_time()
    for _ in range(10_000):
        await awaitable()
    return time.process_time() - begun


def awaits(by):
    import awaits

    return getattr(awaits, by)


WORKLOADS = {
    "protocol echo, 1 connection": lambda: protocol_echo(1, 20_000),
    "protocol echo, 50 connections": lambda: protocol_echo(50, 600),
    "streams echo, 1 connection": lambda: streams_echo(1, 8_000),
    "streams echo, 50 connections": lambda: streams_echo(50, 200),
    "50,000 timers": timers,
    "50,000 tasks": tasks,
    "sleep(0.0003)": lateness,
}

# Each by oneloop, and by pyo3-async-runtimes.
AWAITS = {
    "a Rust future, 100 gathered": lambda by: gathered(awaits(by)),
    "a Rust future, one by one": lambda by: one_by_one(awaits(by)),
}


def factory(name):
    if name == "asyncio":
        return asyncio.SelectorEventLoop
    if name in ("uvloop", "rloop"):
        return importlib.import_module(name).new_event_loop
    import oneloop

    class GuestLoop(oneloop.EventLoop):
        @staticmethod
        def _drive(reactor):
            reactor.run()

    return {"selector": oneloop.EventLoop, "guest": GuestLoop, "tokio": oneloop.TokioEventLoop}[name]


def measure(name, workload, by=""):
    command = [sys.executable, __file__, "--one", name, workload, by]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main(rounds):
    loops = ["asyncio", "selector", "guest", "tokio", "uvloop", "rloop"]
    print(f"| | {' | '.join(loops[1:])} |\n|---|{'---:|' * (len(loops) - 1)}")
    for workload in WORKLOADS:
        results = {name: [] for name in loops}
        for _ in range(rounds):
            for name in loops:
                results[name].append(measure(name, workload))
        if workload.startswith("sleep"):
            late = {name: f"{statistics.median(all) * 1e6:.0f} µs late" for name, all in results.items()}
            cells = [late[name] for name in loops[1:]]
            workload += f" (asyncio: {late['asyncio']})"
        else:
            cells = [f"{min(results[name]) / min(results['asyncio']):.2f}" for name in loops[1:]]
        print(f"| {workload} | {' | '.join(cells)} |", flush=True)

    print("\n| oneloop-python / pyo3-async-runtimes | asyncio | uvloop |\n|---|---:|---:|")
    for workload in AWAITS:
        cells = []
        for name in ["asyncio", "uvloop"]:
            results = {"oneloop": [], "async_runtimes": []}
            for _ in range(rounds):
                for by, all in results.items():
                    all.append(measure(name, workload, by))
            ours, theirs = (min(all) for all in results.values())
            cells.append(f"{ours / theirs:.2f}")
        print(f"| {workload} | {' | '.join(cells)} |", flush=True)


def one(name, workload, by):
    loop = factory(name)()
    what = AWAITS[workload](by) if by else WORKLOADS[workload]()
    print(loop.run_until_complete(what), flush=True)
    # The threads of pyo3-async-runtimes may abort an interpreter that ends.
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(*sys.argv[2:])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
