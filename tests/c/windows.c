/* The C ABI on Windows: sockets of Winsock, timers, posts from a thread, deferred callbacks, poll sets, Ctrl-C and
 * children. tests/systems.sh compiles it and runs it under Wine. */
#define _WIN32_WINNT 0x0600
#include <winsock2.h>

#include <oneloop.h>

#include <errno.h>
#include <process.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ws2tcpip.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, oneloop_strerror()); \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#define MS INT64_C(1000000)
#define CLIENTS 20
#define ROUNDS 50

static int destroyed;
static void destroy(void *user) {
    (void)user;
    destroyed++;
}

static void non_blocking(SOCKET socket) {
    u_long on = 1;
    CHECK(ioctlsocket(socket, FIONBIO, &on) == 0);
}

/* Echoes over TCP. */

static int echoed, closed;

static int echo(oneloop_t *loop, oneloop_id id, oneloop_fd fd, uint32_t ready, void *user) {
    char bytes[64];
    int n = recv(fd, bytes, sizeof bytes, 0);
    (void)user;
    CHECK(ready & (ONELOOP_READABLE | ONELOOP_HANGUP));
    CHECK(oneloop_handler_fd(loop, id) == fd);
    if (n > 0) {
        CHECK(send(fd, bytes, n, 0) == n);
        return ONELOOP_CONTINUE;
    }
    CHECK(closesocket(fd) == 0);
    closed++;
    return ONELOOP_REMOVE;
}

static int welcome(oneloop_t *loop, oneloop_id id, oneloop_fd fd, uint32_t ready, void *user) {
    SOCKET client = accept(fd, NULL, NULL);
    (void)id, (void)ready, (void)user;
    CHECK(client != INVALID_SOCKET);
    non_blocking(client);
    CHECK(oneloop_add_handler(loop, client, ONELOOP_READABLE, ONELOOP_LEVEL, echo, NULL, destroy, NULL) == 0);
    return ONELOOP_CONTINUE;
}

static int answered(oneloop_t *loop, oneloop_id id, oneloop_fd fd, uint32_t ready, void *user) {
    int *rounds = user;
    char bytes[64];
    (void)loop, (void)id;
    CHECK(ready & ONELOOP_READABLE);
    CHECK(recv(fd, bytes, sizeof bytes, 0) == 5 && !memcmp(bytes, "hello", 5));
    echoed++;
    if (++*rounds < ROUNDS) {
        CHECK(send(fd, "hello", 5, 0) == 5);
        return ONELOOP_CONTINUE;
    }
    CHECK(closesocket(fd) == 0);
    return ONELOOP_REMOVE;
}

static SOCKET listener;

static SOCKET connected(void) {
    struct sockaddr_in address;
    int length = sizeof address;
    SOCKET client = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    CHECK(connect(client, (struct sockaddr *)&address, length) == 0);
    return client;
}

static void stop_when_closed(oneloop_t *loop, oneloop_id id, void *user) {
    (void)id, (void)user;
    if (closed == CLIENTS)
        oneloop_stop(loop);
}

static void sockets(oneloop_t *loop) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    int rounds[CLIENTS] = {0};
    oneloop_id timer, welcomes;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(listener, 100) == 0);
    CHECK(oneloop_add_handler(loop, listener, ONELOOP_READABLE, ONELOOP_LEVEL, welcome, NULL, NULL, &welcomes) == 0);
    for (int n = 0; n < CLIENTS; n++) {
        SOCKET client = connected();
        CHECK(oneloop_add_handler(loop, client, ONELOOP_READABLE, ONELOOP_LEVEL, answered, &rounds[n], NULL, NULL) == 0);
        CHECK(send(client, "hello", 5, 0) == 5);
    }
    CHECK(oneloop_add_timer(loop, MS, MS, stop_when_closed, NULL, NULL, &timer) == 0);
    CHECK(oneloop_run(loop) == 0);
    CHECK(oneloop_cancel_timer(loop, timer) == 0);
    CHECK(oneloop_remove_handler(loop, welcomes) == 0);
    CHECK(echoed == CLIENTS * ROUNDS);
    CHECK(oneloop_turn(loop, 0, NULL) >= 0);
    CHECK(destroyed == CLIENTS);
}

/* Posts from a thread. */

static int posts;

static void posted(oneloop_t *loop, void *user) {
    (void)user;
    if (++posts == 1000)
        oneloop_stop(loop);
}

static DWORD WINAPI post(void *loop) {
    for (int n = 0; n < 1000; n++)
        CHECK(oneloop_call_soon(loop, ONELOOP_NORMAL, posted, NULL, NULL, NULL) == 0);
    return 0;
}

static void threads(oneloop_t *loop) {
    HANDLE thread = CreateThread(NULL, 0, post, loop, 0, NULL);
    CHECK(thread != NULL);
    CHECK(oneloop_run_forever(loop) == 0);
    CHECK(posts == 1000);
    CHECK(WaitForSingleObject(thread, INFINITE) == WAIT_OBJECT_0);
    CloseHandle(thread);
}

/* A virtual source, as which C knows deferred callbacks. */

static int deferred(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id;
    return ++*(int *)user == 3 ? ONELOOP_REMOVE : ONELOOP_CONTINUE;
}

static void sources(oneloop_t *loop) {
    int calls = 0;
    CHECK(oneloop_add_deferred(loop, deferred, &calls, NULL, NULL) == 0);
    CHECK(oneloop_run(loop) == 0);
    CHECK(calls == 3);
}

/* Poll sets. */

struct set {
    SOCKET socket;
    int calls;
};

static int list(oneloop_t *loop, struct pollfd *fds, int room, int64_t *timeout, void *user) {
    struct set *set = user;
    (void)loop, (void)room, (void)timeout;
    fds[0] = (WSAPOLLFD){.fd = INVALID_SOCKET, .events = POLLIN};
    fds[1] = (WSAPOLLFD){.fd = set->socket, .events = POLLIN};
    return set->calls ? 0 : 2;
}

static void is_ready(oneloop_t *loop, struct pollfd *fds, int count, void *user) {
    struct set *set = user;
    (void)loop;
    CHECK(count == 2 && fds[0].revents == 0 && fds[1].revents & POLLIN);
    set->calls++;
}

static void pollsets(oneloop_t *loop) {
    struct set set = {.socket = connected()};
    SOCKET other = accept(listener, NULL, NULL);
    oneloop_id id;
    CHECK(oneloop_add_pollset(loop, list, is_ready, &set, NULL, &id) == 0);
    CHECK(send(other, "x", 1, 0) == 1);
    CHECK(oneloop_run(loop) == 0);
    CHECK(set.calls == 1);
    CHECK(oneloop_remove_pollset(loop, id) == 0);
    CHECK(closesocket(other) == 0 && closesocket(set.socket) == 0);
}

/* Children. */

static int status;

static void ended(oneloop_t *loop, int pid, int exit_code, int error, void *user) {
    (void)loop, (void)pid, (void)user;
    CHECK(error == 0);
    status = exit_code;
}

static void children(oneloop_t *loop) {
    STARTUPINFOA start = {.cb = sizeof start};
    PROCESS_INFORMATION child;
    char command[] = "cmd /c exit 7";
    CHECK(CreateProcessA(NULL, command, NULL, NULL, FALSE, 0, NULL, NULL, &start, &child));
    CHECK(oneloop_add_child(loop, child.dwProcessId, ended, NULL, NULL, NULL) == 0);
    CloseHandle(child.hThread);
    CloseHandle(child.hProcess);
    CHECK(oneloop_run(loop) == 0);
    CHECK(status == 7);
}

/* Arguments that are refused. */

static int pressed(oneloop_t *loop, oneloop_id id, int signal, void *user) {
    (void)loop, (void)id, (void)signal, (void)user;
    return ONELOOP_REMOVE;
}

static void refusals(oneloop_t *loop) {
    oneloop_id id;
    CHECK(oneloop_add_handler(loop, INVALID_SOCKET, ONELOOP_READABLE, ONELOOP_LEVEL, echo, NULL, NULL, NULL) ==
          -WSAENOTSOCK);
    CHECK(oneloop_add_handler(loop, listener, ONELOOP_READABLE, ONELOOP_EDGE, echo, NULL, NULL, NULL) == -ENOTSUP);
    CHECK((intptr_t)oneloop_handler_fd(loop, 7) == -ENOENT);
    CHECK(oneloop_host_begin(loop, 0) == -ENOTSUP);
    CHECK(oneloop_add_signal(loop, SIGTERM, pressed, NULL, NULL, NULL) == -ENOTSUP);
    CHECK(oneloop_add_signal(loop, SIGINT, pressed, NULL, NULL, &id) == 0);
    CHECK(oneloop_remove_handler(loop, id) == 0);
    CHECK(oneloop_add_child(loop, 0, ended, NULL, NULL, NULL) == -EIO);
    CHECK(oneloop_inspect(loop, "127.0.0.1:0") == -ENOTSUP);
    CHECK(oneloop_close(loop) == 0);
    CHECK(oneloop_run(loop) == -WSAESHUTDOWN);
}

int main(void) {
    WSADATA data;
    oneloop_t *loop;
    CHECK(WSAStartup(MAKEWORD(2, 2), &data) == 0);
    CHECK(oneloop_version() == ONELOOP_VERSION);
    CHECK(oneloop_features() == 0);
    loop = oneloop_new();
    CHECK(loop != NULL);
    sockets(loop);
    threads(loop);
    sources(loop);
    pollsets(loop);
    children(loop);
    refusals(loop);
    oneloop_free(loop);
    closesocket(listener);
    WSACleanup();
    puts("the C ABI: all is well");
    return 0;
}
