/* libssh2 with an sshd: a command whose output is larger than a window, with input, and then keep-alive messages. */

#define _GNU_SOURCE
#include "oneloop-libssh2.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

#define BIG (5 << 20)
#define INPUT 300000
#define MS 1000000

static _Thread_local struct {
    oneloop_t *loop;
    pthread_t thread;
    struct oneloop_libssh2 *on;
    LIBSSH2_SESSION *session;
    LIBSSH2_CHANNEL *channel;
    int fd, port, sends, sends_before, keeps_alive;
    const char *user, *key;
    size_t sent, received;
} t;

/* With keep-alive messages, a test takes two seconds. */
void ssh2_test_server(int port, const char *user, const char *key, int keeps_alive) {
    memset(&t, 0, sizeof t);
    t.keeps_alive = keeps_alive;
    t.port = port;
    t.user = user;
    t.key = key;
}

/* The error of a function that has returned no pointer. */
static int why(void) { return libssh2_session_last_errno(t.session); }

static void end(oneloop_t *loop, void *user) {
    (void)user;
    libssh2_session_free(t.session);
    close(t.fd);
    oneloop_stop(loop);
}

static int leave(struct oneloop_libssh2 *on) {
    int result = libssh2_session_disconnect(on->session, "done");
    if (result == LIBSSH2_ERROR_EAGAIN)
        return result;
    CHECK(result == 0);
    oneloop_libssh2_detach(on);
    CHECK(oneloop_call_soon(t.loop, ONELOOP_NORMAL, end, NULL, NULL, NULL) == 0);
    return 0;
}

/* How libssh2 sends, but counted. */
static LIBSSH2_SEND_FUNC(send_counted) {
    ssize_t sent = send(socket, buffer, length, flags | MSG_NOSIGNAL);
    (void)abstract;
    t.sends++;
    return sent < 0 ? -errno : sent;
}

static void after_idling(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id, (void)user;
    CHECK(t.sends > t.sends_before);
    oneloop_libssh2_run(t.on, leave);
}

static int free_channel(struct oneloop_libssh2 *on) {
    int result = libssh2_channel_free(t.channel), seconds;
    check_thread(t.thread);
    if (result != 0)
        return result;
    if (!t.keeps_alive) {
        oneloop_libssh2_run(on, leave);
        return 0;
    }
    /* A message is sent at once, and the next is due after two seconds, the least that libssh2 takes. There is no
     * step meanwhile. */
    libssh2_keepalive_config(on->session, 1, 2);
    CHECK(libssh2_keepalive_send(on->session, &seconds) == 0 && seconds == 2);
    t.sends_before = t.sends;
    CHECK(oneloop_add_timer(t.loop, 2200LL * MS, 0, after_idling, NULL, NULL, NULL) == 0);
    return 0;
}

/* Writes and reads, as far as either goes. */
static int talk(struct oneloop_libssh2 *on) {
    char buffer[20000];
    ssize_t result;
    check_thread(t.thread);
    memset(buffer, 'i', sizeof buffer);
    while (t.sent < INPUT) {
        size_t length = INPUT - t.sent < sizeof buffer ? INPUT - t.sent : sizeof buffer;
        result = libssh2_channel_write(t.channel, buffer, length);
        if (result < 0) {
            CHECK(result == LIBSSH2_ERROR_EAGAIN);
            break;
        }
        t.sent += (size_t)result;
    }
    if (t.sent == INPUT && libssh2_channel_send_eof(t.channel) == 0)
        t.sent++;
    while ((result = libssh2_channel_read(t.channel, buffer, sizeof buffer)) > 0)
        t.received += (size_t)result;
    if (result == LIBSSH2_ERROR_EAGAIN)
        return LIBSSH2_ERROR_EAGAIN;
    CHECK(result == 0 && libssh2_channel_eof(t.channel));
    /* Of head and of wc. */
    CHECK(t.received == BIG + strlen("300000\n"));
    oneloop_libssh2_run(on, free_channel);
    return 0;
}

static int execute(struct oneloop_libssh2 *on) {
    char command[100];
    snprintf(command, sizeof command, "head -c %d /dev/zero; wc -c", BIG);
    int result = libssh2_channel_exec(t.channel, command);
    if (result == 0)
        oneloop_libssh2_run(on, talk);
    CHECK(result == 0 || result == LIBSSH2_ERROR_EAGAIN);
    return result;
}

static int open_channel(struct oneloop_libssh2 *on) {
    t.channel = libssh2_channel_open_session(on->session);
    if (!t.channel) {
        CHECK(why() == LIBSSH2_ERROR_EAGAIN);
        return why();
    }
    oneloop_libssh2_run(on, execute);
    return 0;
}

static int log_in(struct oneloop_libssh2 *on) {
    int result = libssh2_userauth_publickey_fromfile(on->session, t.user, NULL, t.key, NULL);
    CHECK(result == 0 || result == LIBSSH2_ERROR_EAGAIN);
    if (result == 0)
        oneloop_libssh2_run(on, open_channel);
    return result;
}

static int shake_hands(struct oneloop_libssh2 *on) {
    int result = libssh2_session_handshake(on->session, on->fd);
    CHECK(on == t.on && on->user == &t);
    CHECK(result == 0 || result == LIBSSH2_ERROR_EAGAIN);
    if (result == 0)
        oneloop_libssh2_run(on, log_in);
    return result;
}

int test_ssh2(oneloop_t *loop) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int little = 5000;
    address.sin_port = htons((uint16_t)t.port);
    t.loop = loop;
    t.thread = pthread_self();
    t.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* So that it cannot always be written to. */
    CHECK(setsockopt(t.fd, SOL_SOCKET, SO_SNDBUF, &little, sizeof little) == 0);
    CHECK(connect(t.fd, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(fcntl(t.fd, F_SETFL, O_NONBLOCK) == 0);
    t.session = libssh2_session_init();
    libssh2_session_callback_set(t.session, LIBSSH2_CALLBACK_SEND, send_counted);
    t.on = oneloop_libssh2_attach(loop, t.session, t.fd);
    CHECK(t.on && !oneloop_libssh2_attach(loop, NULL, t.fd));
    t.on->user = &t;
    oneloop_libssh2_run(t.on, shake_hands);
    return failures;
}

int late_ssh2(int loop_last) {
    oneloop_t *loop = oneloop_new();
    LIBSSH2_SESSION *session = libssh2_session_init();
    struct oneloop_libssh2 *on = oneloop_libssh2_attach(loop, session, 0);
    CHECK(on && oneloop_turn(loop, 0, NULL) >= 0);
    if (!loop_last)
        oneloop_free(loop);
    oneloop_libssh2_detach(on);
    libssh2_session_free(session);
    if (loop_last)
        oneloop_free(loop);
    return failures;
}
