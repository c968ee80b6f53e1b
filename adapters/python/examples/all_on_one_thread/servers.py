"""An asyncio server, a Tornado application and a Twisted server, on the loop that runs."""

import asyncio

import tornado.httpserver
import tornado.netutil
import tornado.web
from twisted.internet import asyncioreactor


async def serve_asyncio():
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 8\r\n\r\nasyncio\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server.sockets[0].getsockname()[1]


def serve_tornado():
    class Page(tornado.web.RequestHandler):
        def get(self):
            self.write("Tornado\n")

    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    tornado.httpserver.HTTPServer(tornado.web.Application([("/", Page)])).add_sockets(sockets)
    return sockets[0].getsockname()[1]


def serve_twisted():
    # Before the import of twisted.internet.reactor, which would make one of another kind.
    asyncioreactor.install(asyncio.get_running_loop())
    from twisted.internet import reactor
    from twisted.web import resource, server

    class Page(resource.Resource):
        isLeaf = True

        def render_GET(self, request):
            return b"Twisted\n"

    port = reactor.listenTCP(0, server.Site(Page()), interface="127.0.0.1")
    reactor.startRunning(installSignalHandlers=False)
    return port.getHost().port


async def serve():
    return await serve_asyncio(), serve_tornado(), serve_twisted()
