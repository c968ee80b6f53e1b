/* An echo server in C.
 *
 *   adapters/c/install.sh /some/prefix
 *   cc examples/c/echo.c $(PKG_CONFIG_PATH=/some/prefix/lib/pkgconfig pkg-config --cflags --libs oneloop)
 *   ./a.out 7000     # and then: nc 127.0.0.1 7000
 *
 * Ctrl-C ends it. Without a port it is its own client, and ends by itself.
 */

#define _GNU_SOURCE
#include <oneloop.h>

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct connection {
    int fd;
    size_t length;
    char bytes[4096];
};

static void check(int result, const char *what) {
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", what, oneloop_strerror());
        exit(1);
    }
}

/* Called once, when the handler can no longer be called. */
static void hang_up(void *user) {
    struct connection *connection = user;
    close(connection->fd);
    free(connection);
}

static int echo(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user) {
    struct connection *connection = user;
    if (connection->length == 0 && ready & ONELOOP_READABLE) {
        ssize_t n = read(fd, connection->bytes, sizeof connection->bytes);
        if (n <= 0)
            return ONELOOP_REMOVE;
        connection->length = n;
    }
    ssize_t n = send(fd, connection->bytes, connection->length, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
        return ONELOOP_REMOVE;
    if (n > 0) {
        connection->length -= n;
        memmove(connection->bytes, connection->bytes + n, connection->length);
    }
    /* Costs nothing if it is what it was. */
    oneloop_update_handler(loop, id, connection->length ? ONELOOP_WRITABLE : ONELOOP_READABLE);
    return ONELOOP_CONTINUE;
}

static int welcome(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user) {
    (void)id, (void)ready, (void)user;
    int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct connection *connection = client < 0 ? NULL : calloc(1, sizeof *connection);
    if (!connection) {
        close(client);
        return ONELOOP_CONTINUE;
    }
    connection->fd = client;
    if (oneloop_add_handler(loop, client, ONELOOP_READABLE, ONELOOP_LEVEL, echo, connection,
                            hang_up, NULL) < 0)
        hang_up(connection); /* what could not be registered is still ours */
    return ONELOOP_CONTINUE;
}

static int interrupted(oneloop_t *loop, oneloop_id id, int signal, void *user) {
    (void)id, (void)signal, (void)user;
    oneloop_stop(loop);
    return ONELOOP_CONTINUE;
}

static int answered(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user) {
    (void)id, (void)ready, (void)user;
    char bytes[100];
    ssize_t n = read(fd, bytes, sizeof bytes);
    printf("echo: %.*s\n", (int)n, bytes);
    oneloop_stop(loop);
    return ONELOOP_REMOVE;
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "--help"))
        return puts("Echoes lines, by callbacks on one loop.\n\n"
                    "Usage: echo [PORT]\n\n"
                    "  PORT     serves until Ctrl-C (default: any port, with a client of its own)\n"
                    "  --help   this text"),
               0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    address.sin_port = htons(argc > 1 ? atoi(argv[1]) : 0);
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 100))
        return perror("listen"), 1;

    oneloop_t *loop = oneloop_new();
    if (!loop)
        check(-1, "oneloop_new");
    check(oneloop_add_handler(loop, listener, ONELOOP_READABLE, ONELOOP_LEVEL, welcome, NULL, NULL,
                              NULL),
          "the listener");
    check(oneloop_add_signal(loop, SIGINT, interrupted, NULL, NULL, NULL), "Ctrl-C");

    int client = -1;
    if (argc == 1) {
        getsockname(listener, (struct sockaddr *)&address, &length);
        client = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(client, (struct sockaddr *)&address, length) || write(client, "hello", 5) != 5)
            return perror("connect"), 1;
        check(oneloop_add_handler(loop, client, ONELOOP_READABLE, ONELOOP_LEVEL, answered, NULL,
                                  NULL, NULL),
              "the client");
    }
    check(oneloop_run(loop), "oneloop_run");
    oneloop_free(loop);
    close(client);
    close(listener);
    return 0;
}
