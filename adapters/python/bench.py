"""Compares oneloop's loops with asyncio's own, in processor time, as ratios of one run.

    bench.py [ROUNDS]     with the package oneloop to import; uvloop joins if it can be imported

Each round runs every loop once, in a process of its own. The figures are medians of the rounds.
"""

import asyncio
import importlib.util
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


WORKLOADS = {
    "protocol echo, 1 connection": lambda: protocol_echo(1, 20_000),
    "protocol echo, 50 connections": lambda: protocol_echo(50, 600),
    "streams echo, 1 connection": lambda: streams_echo(1, 8_000),
    "streams echo, 50 connections": lambda: streams_echo(50, 200),
    "50,000 timers": timers,
    "50,000 tasks": tasks,
    "sleep(0.0003)": lateness,
}


def factory(name):
    if name == "asyncio":
        return asyncio.SelectorEventLoop
    if name == "uvloop":
        import uvloop

        return uvloop.new_event_loop
    import oneloop

    class GuestLoop(oneloop.EventLoop):
        @staticmethod
        def _drive(reactor):
            reactor.run()

    return {"selector": oneloop.EventLoop, "guest": GuestLoop, "tokio": oneloop.TokioEventLoop}[name]


def measure(name, workload):
    output = subprocess.run([sys.executable, __file__, "--one", name, workload], check=True, stdout=subprocess.PIPE)
    return float(output.stdout)


def main(rounds):
    loops = ["asyncio", "selector", "guest", "tokio"]
    if importlib.util.find_spec("uvloop"):
        loops.append("uvloop")
    print(f"| | {' | '.join(loops[1:])} |\n|---|{'---:|' * (len(loops) - 1)}")
    for workload in WORKLOADS:
        results = {name: [] for name in loops}
        for _ in range(rounds):
            for name in loops:
                results[name].append(measure(name, workload))
        middle = {name: statistics.median(all) for name, all in results.items()}
        if workload.startswith("sleep"):
            cells = [f"{middle[name] * 1e6:.0f} µs late" for name in loops[1:]]
            workload += f" (asyncio: {middle['asyncio'] * 1e6:.0f} µs late)"
        else:
            cells = [f"{middle[name] / middle['asyncio']:.2f}" for name in loops[1:]]
        print(f"| {workload} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        loop = factory(sys.argv[2])()
        print(loop.run_until_complete(WORKLOADS[sys.argv[3]]()))
        loop.close()
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
