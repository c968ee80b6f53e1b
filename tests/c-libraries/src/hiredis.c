/* hiredis and a redis-server, on oneloop-hiredis.h. Compiled for the system's hiredis, once more for 1.x, and
 * for libvalkey. Each test sets itself up on the loop and stops that when all memory is given back. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifdef ONELOOP_VALKEY
#include "valkey_names.h"
#define TIMEOUTS 1
/* The callback may change it. */
#define CONNECTING redisAsyncContext
#else
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#define TIMEOUTS (HIREDIS_MAJOR >= 1)
#define CONNECTING const redisAsyncContext
#endif
#include <oneloop.h>

#include "check.h"

#ifdef ONELOOP_VALKEY
#define TEST(name) valkey_##name
#elif defined HIREDIS1
#define TEST(name) hiredis1_##name
#else
#define TEST(name) hiredis_##name
#endif
#define MS INT64_C(1000000)
#define PIPELINE 10000
#define MESSAGES 1000
#define BIG (5 << 20)

/* Starts the server, or kills it. */
typedef void serve_fn(bool up);

/* Data that a test's callbacks share. */
static _Thread_local struct {
    oneloop_t *loop;
    const char *path;
    int port;
    serve_fn *serve;
    void (*begin)(void);
    redisDisconnectCallback *gone; /* instead of the usual */
    pthread_t thread;
    redisAsyncContext *ac, *other;
    int alive; /* pieces of the glue's memory */
    int next, nulls, refused, closed, pings, turns;
    int listener, first;
    int64_t start;
    char *big;
} t;

/* The glue's memory is counted. */
static void *counted(size_t n, size_t size) {
    t.alive++;
    return calloc(n, size);
}

static void give_back(void *memory) {
    t.alive--;
    free(memory);
}

#define calloc counted
#define free give_back
#include "oneloop-hiredis.h"
#undef calloc
#undef free

static void same_thread(void) { check_thread(t.thread); }

static int finished(oneloop_t *loop, oneloop_id id, void *user) {
    (void)id, (void)user;
    if (t.alive && ++t.turns < 10)
        return ONELOOP_CONTINUE;
    CHECK(t.alive == 0);
    /* Nor is a timer left, but that of the test's host. */
    CHECK(oneloop_next_timeout(loop) > 20000 * MS);
    CHECK(oneloop_stop(loop) == 0);
    return ONELOOP_REMOVE;
}

static void finish(void) {
    CHECK(oneloop_add_deferred(t.loop, finished, NULL, NULL, NULL) == 0);
}

/* The last connection that goes ends the test. */
static void gone(const redisAsyncContext *ac, int status) {
    same_thread();
    /* The glue's memory is not given back below a handler. */
    CHECK(t.alive > 0);
    if (t.gone) {
        t.gone(ac, status);
        return;
    }
    CHECK(status == REDIS_OK && ac->err == 0);
    if (++t.closed == (t.other ? 2 : 1))
        finish();
}

static void on_connect(CONNECTING *ac, int status) {
    same_thread();
    CHECK(status == REDIS_OK && ac->err == 0);
}

/* NULL if no server listens yet. */
static redisAsyncContext *open_context(void) {
    redisAsyncContext *ac = redisAsyncConnectUnix(t.path);
    if (ac->err) {
        CHECK(redisOneloopAttach(ac, t.loop) == REDIS_ERR);
        redisAsyncFree(ac);
        return NULL;
    }
    CHECK(redisOneloopAttach(ac, t.loop) == REDIS_OK);
#if TIMEOUTS
    CHECK(redisAsyncSetTimeout(ac, (struct timeval){10, 0}) == REDIS_OK);
#endif
    CHECK(redisAsyncSetConnectCallback(ac, on_connect) == REDIS_OK);
    CHECK(redisAsyncSetDisconnectCallback(ac, gone) == REDIS_OK);
    return ac;
}

static void try_to_connect(oneloop_t *loop, oneloop_id id, void *user) {
    (void)user;
    same_thread();
    t.ac = open_context();
    if (t.ac) {
        CHECK(oneloop_cancel_timer(loop, id) == 0);
        t.begin();
    } else {
        CHECK(oneloop_reset_timer(loop, id, 2 * MS) == 0);
    }
}

/* Begins when the server is there. */
static int when_up(oneloop_t *loop, const char *path, int port, serve_fn *serve,
                   void (*begin)(void)) {
    memset(&t, 0, sizeof t);
    t.loop = loop;
    t.path = path;
    t.port = port;
    t.serve = serve;
    t.begin = begin;
    t.thread = pthread_self();
    CHECK(oneloop_add_timer(loop, 0, 0, try_to_connect, NULL, NULL, NULL) == 0);
    return failures;
}

#define TEST_BEGINS(name, begin)                                                                   \
    int TEST(name)(oneloop_t * loop, const char *path, int port, serve_fn *serve);                 \
    int TEST(name)(oneloop_t * loop, const char *path, int port, serve_fn *serve) {                \
        return when_up(loop, path, port, serve, begin);                                            \
    }

/* Each reply callback begins with this. */
static redisReply *reply_of(redisAsyncContext *ac, void *reply) {
    same_thread();
    CHECK(ac == t.ac || ac == t.other);
    return reply;
}

static bool is_text(const redisReply *reply, int type, const char *text) {
    return reply && reply->type == type && (size_t)reply->len == strlen(text) &&
           memcmp(reply->str, text, reply->len) == 0;
}

static void last_reply(redisAsyncContext *ac, void *data, void *user) {
    (void)user;
    CHECK(is_text(reply_of(ac, data), REDIS_REPLY_STATUS, "PONG"));
    redisAsyncDisconnect(ac);
}

/* A pipeline: each fourth command sets, gets, counts, says something. */

static void piped(redisAsyncContext *ac, void *data, void *user) {
    redisReply *reply = reply_of(ac, data);
    int i = (int)(intptr_t)user;
    char text[40];
    CHECK(i == t.next);
    t.next++;
    snprintf(text, sizeof text, "value of %d", i - i % 4);
    if (i % 4 == 0)
        CHECK(is_text(reply, REDIS_REPLY_STATUS, "OK"));
    else if (i % 4 == 1)
        CHECK(is_text(reply, REDIS_REPLY_STRING, text));
    else if (i % 4 == 2)
        CHECK(reply && reply->type == REDIS_REPLY_INTEGER && reply->integer == i / 4 + 1);
    else
        CHECK(reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
              is_text(reply->element[0], REDIS_REPLY_STRING, text) &&
              reply->element[1]->type == REDIS_REPLY_NIL);
    if (t.next == PIPELINE)
        redisAsyncDisconnect(ac);
}

static void send_pipeline(void) {
    CHECK(redisOneloopAttach(t.ac, t.loop) == REDIS_ERR);
    for (int i = 0; i < PIPELINE; i++) {
        char text[40];
        int key = i - i % 4, result;
        snprintf(text, sizeof text, "value of %d", key);
        if (i % 4 == 0)
            result = redisAsyncCommand(t.ac, piped, (void *)(intptr_t)i, "SET key:%d %s", key, text);
        else if (i % 4 == 1)
            result = redisAsyncCommand(t.ac, piped, (void *)(intptr_t)i, "GET key:%d", key);
        else if (i % 4 == 2)
            result = redisAsyncCommand(t.ac, piped, (void *)(intptr_t)i, "INCR count");
        else
            result = redisAsyncCommand(t.ac, piped, (void *)(intptr_t)i, "MGET key:%d none", key);
        CHECK(result == REDIS_OK);
    }
}

TEST_BEGINS(a_pipeline, send_pipeline)

/* Each command is sent from the reply to the one before. */

static void chained(redisAsyncContext *ac, void *data, void *user) {
    redisReply *reply = reply_of(ac, data);
    (void)user;
    CHECK(reply && reply->integer == ++t.next);
    if (t.next < MESSAGES)
        CHECK(redisAsyncCommand(ac, chained, NULL, "INCR count") == REDIS_OK);
    else
        redisAsyncDisconnect(ac);
}

static void send_first(void) {
    CHECK(redisAsyncCommand(t.ac, chained, NULL, "INCR count") == REDIS_OK);
}

TEST_BEGINS(a_command_from_each_reply, send_first)

/* Publishing: every message to one of two channels, which is subscribed by name or by pattern. */

static void usable_again(redisAsyncContext *ac, void *data, void *user) {
    (void)user;
    CHECK(is_text(reply_of(ac, data), REDIS_REPLY_STATUS, "PONG"));
    redisAsyncDisconnect(t.ac);
    redisAsyncDisconnect(t.other);
}

static void published(redisAsyncContext *ac, void *data, void *user) {
    redisReply *reply = reply_of(ac, data);
    (void)user;
    CHECK(ac == t.other);
    CHECK(reply && reply->type == REDIS_REPLY_INTEGER && reply->integer == 1);
}

static void news(redisAsyncContext *ac, void *data, void *user) {
    redisReply *reply = reply_of(ac, data);
    const char *kind;
    char text[40];
    CHECK(ac == t.ac && reply && reply->type == REDIS_REPLY_ARRAY);
    if (!reply)
        return;
    kind = reply->element[0]->str;
    if (strcmp(kind, "psubscribe") == 0) {
        CHECK(reply->element[2]->integer == 2);
        for (int i = 0; i < MESSAGES; i++)
            CHECK(redisAsyncCommand(t.other, published, NULL, "PUBLISH %s %d",
                                    i % 2 ? "rumours:local" : "news", i) == REDIS_OK);
    } else if (strcmp(kind, "message") == 0 || strcmp(kind, "pmessage") == 0) {
        int odd = t.next % 2;
        snprintf(text, sizeof text, "%d", t.next++);
        CHECK(strcmp(user, odd ? "by pattern" : "by name") == 0);
        CHECK(reply->elements == (odd ? 4 : 3));
        CHECK(is_text(reply->element[1 + odd], REDIS_REPLY_STRING, odd ? "rumours:local" : "news"));
        CHECK(is_text(reply->element[2 + odd], REDIS_REPLY_STRING, text));
        if (t.next == MESSAGES) {
            CHECK(redisAsyncCommand(ac, NULL, NULL, "UNSUBSCRIBE news") == REDIS_OK);
            CHECK(redisAsyncCommand(ac, NULL, NULL, "PUNSUBSCRIBE rumours:*") == REDIS_OK);
        }
    } else if (strcmp(kind, "punsubscribe") == 0) {
        CHECK(t.next == MESSAGES && reply->element[2]->integer == 0);
        CHECK(redisAsyncCommand(ac, usable_again, NULL, "PING") == REDIS_OK);
    }
}

static void subscribe(void) {
    t.other = open_context();
    CHECK(redisAsyncCommand(t.ac, news, "by name", "SUBSCRIBE news") == REDIS_OK);
    CHECK(redisAsyncCommand(t.ac, news, "by pattern", "PSUBSCRIBE rumours:*") == REDIS_OK);
}

TEST_BEGINS(publishing, subscribe)

/* Big values, and another connection meanwhile. */

static void pong(redisAsyncContext *ac, void *data, void *user) {
    (void)user;
    CHECK(is_text(reply_of(ac, data), REDIS_REPLY_STATUS, "PONG"));
    t.pings++;
    if (t.next < 4)
        CHECK(redisAsyncCommand(ac, pong, NULL, "PING") == REDIS_OK);
    else
        redisAsyncDisconnect(ac);
}

static void moved(redisAsyncContext *ac, void *data, void *user) {
    redisReply *reply = reply_of(ac, data);
    (void)user;
    if (t.next++ % 2 == 0) {
        CHECK(is_text(reply, REDIS_REPLY_STATUS, "OK"));
    } else {
        CHECK(reply && reply->type == REDIS_REPLY_STRING && reply->len == BIG);
        CHECK(reply && memcmp(reply->str, t.big, BIG) == 0);
    }
    if (t.next < 4)
        return;
    CHECK(t.pings > 10);
    free(t.big);
    redisAsyncDisconnect(ac);
}

static void send_big(void) {
    uint32_t random = 1;
    t.other = open_context();
    t.big = malloc(BIG);
    for (int i = 0; i < BIG; i++) {
        random = random * 1664525 + 1013904223;
        t.big[i] = (char)(random >> 24);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(redisAsyncCommand(t.ac, moved, NULL, "SET big %b", t.big, (size_t)BIG) == REDIS_OK);
        CHECK(redisAsyncCommand(t.ac, moved, NULL, "GET big") == REDIS_OK);
    }
    CHECK(redisAsyncCommand(t.other, pong, NULL, "PING") == REDIS_OK);
}

TEST_BEGINS(big_values, send_big)

/* The server is killed, and comes back, on the same port. */

static void reconnect(void);

static void retry(oneloop_t *loop, oneloop_id id, void *user) {
    (void)user;
    same_thread();
    CHECK(oneloop_cancel_timer(loop, id) == 0);
    reconnect();
}

static void reconnected(CONNECTING *ac, int status) {
    same_thread();
    CHECK(ac == t.ac);
    if (status == REDIS_OK) {
        CHECK(redisAsyncCommand(t.ac, last_reply, NULL, "PING") == REDIS_OK);
        return;
    }
    CHECK(ac->c.err == REDIS_ERR_IO && strcmp(ac->c.errstr, strerror(ECONNREFUSED)) == 0);
    if (++t.refused == 2)
        t.serve(true);
    CHECK(oneloop_add_timer(t.loop, 5 * MS, 0, retry, NULL, NULL, NULL) == 0);
}

static void reconnect(void) {
    t.ac = redisAsyncConnect("127.0.0.1", t.port);
    CHECK(redisOneloopAttach(t.ac, t.loop) == REDIS_OK);
    CHECK(redisAsyncSetConnectCallback(t.ac, reconnected) == REDIS_OK);
    CHECK(redisAsyncSetDisconnectCallback(t.ac, gone) == REDIS_OK);
}

static void lost(const redisAsyncContext *ac, int status) {
    /* The latter if the server left something unread. */
    CHECK(ac->err == REDIS_ERR_EOF || ac->err == REDIS_ERR_IO);
    CHECK(status == REDIS_ERR && ac == t.ac && t.nulls == 100);
    t.gone = NULL;
    reconnect();
}

static void null_reply(redisAsyncContext *ac, void *data, void *user) {
    CHECK(reply_of(ac, data) == NULL && (int)(intptr_t)user == t.nulls);
    t.nulls++;
}

static void kill_server(redisAsyncContext *ac, void *data, void *user) {
    (void)user;
    CHECK(is_text(reply_of(ac, data), REDIS_REPLY_STATUS, "PONG"));
    t.serve(false);
}

static void send_and_block(void) {
    t.gone = lost;
    CHECK(redisAsyncCommand(t.ac, kill_server, NULL, "PING") == REDIS_OK);
    for (int i = 0; i < 100; i++)
        CHECK(redisAsyncCommand(t.ac, null_reply, (void *)(intptr_t)i,
                                i ? "PING" : "BLPOP nothing 0") == REDIS_OK);
}

TEST_BEGINS(a_killed_server, send_and_block)

/* A context is freed by a reply, in an event that is for writing, too. */

static void free_context(redisAsyncContext *ac, void *data, void *user) {
    (void)user;
    CHECK(is_text(reply_of(ac, data), REDIS_REPLY_STATUS, "PONG"));
    redisAsyncFree(ac);
}

static void freed(const redisAsyncContext *ac, int status) {
    (void)ac;
    CHECK(status == REDIS_OK && t.nulls == 3);
    finish();
}

static void read_and_write_at_once(oneloop_t *loop, oneloop_id id, void *user) {
    struct pollfd ready = {.fd = t.ac->c.fd, .events = POLLIN};
    (void)user;
    same_thread();
    CHECK(oneloop_cancel_timer(loop, id) == 0);
    CHECK(redisAsyncCommand(t.ac, free_context, NULL, "PING") == REDIS_OK);
    redisAsyncHandleWrite(t.ac);
    CHECK(poll(&ready, 1, 10000) == 1);
    /* The reply is there, and now there is something to write. */
    for (int i = 0; i < 3; i++)
        CHECK(redisAsyncCommand(t.ac, null_reply, (void *)(intptr_t)i, "PING") == REDIS_OK);
}

static void at_once(redisAsyncContext *ac, void *data, void *user) {
    (void)user;
    CHECK(is_text(reply_of(ac, data), REDIS_REPLY_STATUS, "PONG"));
    CHECK(oneloop_add_timer(t.loop, 0, 0, read_and_write_at_once, NULL, NULL, NULL) == 0);
}

static void send_then_free(void) {
    t.gone = freed;
    CHECK(redisAsyncCommand(t.ac, at_once, NULL, "PING") == REDIS_OK);
}

TEST_BEGINS(freed_by_a_reply, send_then_free)

/* A reply disconnects: those to what was sent before it still come. */

static void disconnect(redisAsyncContext *ac, void *data, void *user) {
    CHECK(is_text(reply_of(ac, data), REDIS_REPLY_STATUS, "PONG"));
    CHECK((int)(intptr_t)user == t.next++);
    if (t.next == 1) {
        redisAsyncDisconnect(ac);
        CHECK(redisAsyncCommand(ac, NULL, NULL, "PING") == REDIS_ERR);
    }
}

static void disconnected(const redisAsyncContext *ac, int status) {
    CHECK(status == REDIS_OK && ac->err == 0 && t.next == 100);
    finish();
}

static void send_then_disconnect(void) {
    t.gone = disconnected;
    for (int i = 0; i < 100; i++)
        CHECK(redisAsyncCommand(t.ac, disconnect, (void *)(intptr_t)i, "PING") == REDIS_OK);
}

TEST_BEGINS(disconnected_by_a_reply, send_then_disconnect)

/* The loop ends, with a context on it, and one that is freed while it ends. */

static void stop(redisAsyncContext *ac, void *data, void *user) {
    CHECK(is_text(reply_of(ac, data), REDIS_REPLY_STATUS, "PONG"));
    CHECK(oneloop_stop(user) == 0);
}

static void never(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id, (void)user;
    CHECK(!"called");
}

static void free_other(void *user) {
    (void)user;
    redisAsyncFree(t.other);
    t.other = NULL;
}

static void end_loop(void) {
    oneloop_t *loop = oneloop_new();
    redisAsyncContext *outer = t.ac;
    CHECK(oneloop_add_timer(loop, ONELOOP_NEVER, 0, never, NULL, free_other, NULL) == 0);
    t.ac = redisAsyncConnectUnix(t.path);
    t.other = redisAsyncConnectUnix(t.path);
    CHECK(redisOneloopAttach(t.ac, loop) == REDIS_OK);
    CHECK(redisOneloopAttach(t.other, loop) == REDIS_OK);
    CHECK(redisAsyncCommand(t.ac, stop, loop, "PING") == REDIS_OK);
    CHECK(oneloop_run(loop) == 0);
    oneloop_free(loop);
    CHECK(t.other == NULL && t.alive == 2);
    CHECK(redisAsyncCommand(t.ac, null_reply, (void *)0, "PING") == REDIS_OK);
    redisAsyncFree(t.ac);
    CHECK(t.nulls == 1 && t.alive == 1);
    t.ac = outer;
    CHECK(redisAsyncCommand(t.ac, last_reply, NULL, "PING") == REDIS_OK);
}

TEST_BEGINS(the_loop_ends_first, end_loop)

#if TIMEOUTS

/* Timeouts. They do not strike while replies come, nor while none is awaited. */

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static const struct timeval timeout = {0, 200000};

static void timed_out(const redisAsyncContext *ac, int status) {
    int64_t waited = now() - t.start;
    CHECK(status == REDIS_ERR && ac->err == REDIS_ERR_TIMEOUT && t.nulls == 2);
    CHECK(waited >= 200 * MS && waited < 2000 * MS);
    finish();
}

static void wait_in_vain(redisAsyncContext *ac, void *data, void *user) {
    (void)user;
    CHECK(is_text(reply_of(ac, data), REDIS_REPLY_STATUS, "PONG"));
    t.gone = timed_out;
    t.start = now();
    CHECK(redisAsyncCommand(ac, null_reply, (void *)0, "BLPOP nothing 0") == REDIS_OK);
    CHECK(redisAsyncCommand(ac, null_reply, (void *)1, "PING") == REDIS_OK);
}

static void after_idling(oneloop_t *loop, oneloop_id id, void *user) {
    (void)user;
    same_thread();
    CHECK(oneloop_cancel_timer(loop, id) == 0);
    CHECK(redisAsyncCommand(t.ac, wait_in_vain, NULL, "PING") == REDIS_OK);
}

static void keep_busy(redisAsyncContext *ac, void *data, void *user) {
    (void)user;
    CHECK(is_text(reply_of(ac, data), REDIS_REPLY_STATUS, "PONG"));
    if (!data)
        return;
    if (now() - t.start < 400 * MS)
        CHECK(redisAsyncCommand(ac, keep_busy, NULL, "PING") == REDIS_OK);
    else
        CHECK(oneloop_add_timer(t.loop, 300 * MS, 0, after_idling, NULL, NULL, NULL) == 0);
}

static void set_timeout(void) {
    CHECK(redisAsyncSetTimeout(t.ac, timeout) == REDIS_OK);
    t.start = now();
    CHECK(redisAsyncCommand(t.ac, keep_busy, NULL, "PING") == REDIS_OK);
}

TEST_BEGINS(a_command_timeout, set_timeout)

/* The server accepts no connection, and the one place in the queue is taken. */

static void not_connected(CONNECTING *ac, int status) {
    int64_t waited = now() - t.start;
    same_thread();
    CHECK(status == REDIS_ERR && ac->err == REDIS_ERR_TIMEOUT);
    CHECK(waited >= 200 * MS && waited < 2000 * MS);
    close(t.listener);
    close(t.first);
    t.ac = t.other;
    t.other = NULL;
    redisAsyncDisconnect(t.ac);
}

static void not_sent(redisAsyncContext *ac, void *data, void *user) {
    (void)ac, (void)user;
    CHECK(data == NULL);
}

static void connect_in_vain(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    redisOptions options = {0};
    t.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    t.first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(t.listener, (struct sockaddr *)&address, length) == 0);
    CHECK(listen(t.listener, 0) == 0);
    CHECK(getsockname(t.listener, (struct sockaddr *)&address, &length) == 0);
    CHECK(connect(t.first, (struct sockaddr *)&address, length) == 0);

    REDIS_OPTIONS_SET_TCP(&options, "127.0.0.1", ntohs(address.sin_port));
    options.connect_timeout = &timeout;
    t.start = now();
    t.other = t.ac; /* Ends the test. */
    t.ac = redisAsyncConnectWithOptions(&options);
    CHECK(redisOneloopAttach(t.ac, t.loop) == REDIS_OK);
    CHECK(redisAsyncSetConnectCallback(t.ac, not_connected) == REDIS_OK);
    CHECK(redisAsyncCommand(t.ac, not_sent, NULL, "PING") == REDIS_OK);
}

TEST_BEGINS(a_connect_timeout, connect_in_vain)

#endif
