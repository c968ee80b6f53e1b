/* c-ares against the test's own name servers: see tests/cares.rs for what they make of each name. */

#define _GNU_SOURCE
#include "oneloop-cares.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "check.h"

#define MS 1000000LL
#define MANY 100
#define BIG 2000

static _Thread_local struct {
    const char *servers;
    oneloop_t *loop;
    pthread_t thread;
    struct oneloop_ares *ares;
    int64_t start;
    int answers, sleeps, cancelled, ended, reused, closes;
    char opened[1024], answered[MANY];
} t;

/* The addresses and ports of two name servers, which are the same. */
void cares_test_servers(const char *servers) {
    memset(&t, 0, sizeof t);
    t.servers = servers;
}

/* How many queries have ended with their channel. */
int cares_test_ended(void) { return t.ended; }

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void here(void) { check_thread(t.thread); }

static void begin(oneloop_t *loop, int timeout) {
    struct ares_options options;
    memset(&options, 0, sizeof options);
    options.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES;
    options.timeout = timeout;
    options.tries = 2;
    options.lookups = (char *)"b";
    t.loop = loop;
    t.thread = pthread_self();
    t.start = now();
    CHECK(oneloop_ares_init(&t.ares, loop, &options,
                            ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                                ARES_OPT_LOOKUPS) == ARES_SUCCESS);
    CHECK(ares_set_servers_ports_csv(t.ares->channel, t.servers) == ARES_SUCCESS);
}

static void finish(void) {
    oneloop_ares_destroy(t.ares);
    oneloop_stop(t.loop);
}

static void ask(const char *what, int number, ares_addrinfo_callback found) {
    struct ares_addrinfo_hints hints = {ARES_AI_NOSORT, AF_INET, SOCK_STREAM, 0};
    char name[50];
    snprintf(name, sizeof name, "%s-%d.test", what, number);
    ares_getaddrinfo(t.ares->channel, name, NULL, &hints, found, (void *)(intptr_t)number);
}

/* The addresses are those from 10.`net`.0.0 + `first`, in order. */
static void check_addresses(struct ares_addrinfo *result, int net, int first, int count) {
    struct ares_addrinfo_node *node = result ? result->nodes : NULL;
    for (int n = 0; n < count; n++, node = node->ai_next) {
        CHECK(node && node->ai_family == AF_INET);
        if (!node)
            return;
        struct in_addr address = ((struct sockaddr_in *)node->ai_addr)->sin_addr;
        if (ntohl(address.s_addr) != (10u << 24) + ((unsigned)net << 16) + first + n) {
            CHECK(!"another address");
            return;
        }
    }
    CHECK(!node);
    ares_freeaddrinfo(result);
}

/* One after the other: plain, missing, large ones over TCP, and a connection that is cut. */

static int opened(ares_socket_t fd, int type, void *user) {
    (void)type, (void)user;
    CHECK(fd >= 0 && fd < 1024);
    if (t.opened[fd]++ && t.ares->inside)
        t.reused++;
    return 0;
}

static void found_again(void *number, int status, int timeouts, struct ares_addrinfo *result) {
    (void)number, (void)timeouts;
    here();
    CHECK(status == ARES_SUCCESS);
    check_addresses(result, 7, 3, 1);
    /* The sockets of the connection that was cut, and the next one, inside one call of c-ares 1.18. */
    CHECK(t.reused == 1 || ARES_VERSION > 0x011201);
    finish();
}

static void found_big(void *number, int status, int timeouts, struct ares_addrinfo *result) {
    (void)timeouts;
    here();
    CHECK(status == ARES_SUCCESS);
    check_addresses(result, 8, (int)(intptr_t)number, BIG);
    if (++t.answers < 4)
        return;
    ask("cut", 3, found_again);
}

static void missing(void *number, int status, int timeouts, struct ares_addrinfo *result) {
    (void)number, (void)timeouts;
    here();
    CHECK(status == ARES_ENOTFOUND && !result);
    t.answers++;
    ask("big", 5, found_big);
    ask("big", 6, found_big);
}

static void found(void *number, int status, int timeouts, struct ares_addrinfo *result) {
    (void)timeouts;
    here();
    CHECK(status == ARES_SUCCESS);
    check_addresses(result, 7, (int)(intptr_t)number, 1);
    t.answers++;
    ask("missing", 2, missing);
}

int test_cares_answers(oneloop_t *loop) {
    begin(loop, 5000);
    ares_set_socket_callback(t.ares->channel, opened, NULL);
    ask("plain", 1, found);
    return failures;
}

/* A hundred at once, every tenth of which is lost on its way. */

static void one_of_many(void *number, int status, int timeouts, struct ares_addrinfo *result) {
    int n = (int)(intptr_t)number;
    here();
    CHECK(status == ARES_SUCCESS);
    check_addresses(result, 7, n, 1);
    CHECK(!t.answered[n]++);
    if (n % 10 == 0) {
        CHECK(timeouts >= 1);
        CHECK(now() - t.start >= 200 * MS);
    }
    if (++t.answers == MANY)
        finish();
}

int test_cares_many(oneloop_t *loop) {
    begin(loop, 200);
    for (int n = 0; n < MANY; n++)
        ask(n % 10 ? "plain" : "lost", n, one_of_many);
    return failures;
}

/* A server does not answer. The loop sleeps meanwhile, and other queries are answered. */

static int64_t sleeps(oneloop_t *loop, void *user) {
    (void)loop, (void)user;
    t.sleeps++;
    return ONELOOP_NEVER;
}

static void meanwhile(void *number, int status, int timeouts, struct ares_addrinfo *result) {
    (void)timeouts;
    here();
    CHECK(status == ARES_SUCCESS);
    check_addresses(result, 7, (int)(intptr_t)number, 1);
    t.answers++;
}

static void silent(void *number, int status, int timeouts, struct ares_addrinfo *result) {
    here();
    CHECK(status == ARES_ETIMEOUT && !result);
    /* Two servers, twice each: 50, 50, 100 and 100 ms. */
    CHECK(timeouts == 4);
    int64_t took = now() - t.start;
    CHECK(took >= 300 * MS + (number ? 30 * MS : 0) && took < 3000 * MS);
    if (++t.ended < 2)
        return;
    CHECK(t.answers == 1);
    CHECK(t.sleeps < 40);
    finish();
}

static void ask_later(oneloop_t *loop, oneloop_id id, void *user) {
    (void)user;
    oneloop_cancel_timer(loop, id);
    ask("silent", 1, silent);
    ask("plain", 4, meanwhile);
}

int test_cares_timeouts(oneloop_t *loop) {
    begin(loop, 50);
    CHECK(oneloop_add_hook(loop, sleeps, NULL, NULL, NULL, NULL) == 0);
    CHECK(oneloop_add_timer(loop, 30 * MS, 0, ask_later, NULL, NULL, NULL) == 0);
    ask("silent", 0, silent);
    return failures;
}

/* Cancelled inside a callback, asked inside that, and ended inside the last. */

static void gone(void *number, int status, int timeouts, struct ares_addrinfo *result) {
    (void)number, (void)timeouts;
    here();
    CHECK(status == ARES_EDESTRUCTION && !result);
    t.ended++;
    oneloop_stop(t.loop);
}

static void found_last(void *number, int status, int timeouts, struct ares_addrinfo *result) {
    (void)number, (void)timeouts;
    here();
    CHECK(status == ARES_SUCCESS);
    check_addresses(result, 7, 42, 1);
    CHECK(t.cancelled == 20);
    ask("silent", 99, gone);
    oneloop_ares_destroy(t.ares);
    CHECK(t.ended == 0);
}

static void cancelled(void *number, int status, int timeouts, struct ares_addrinfo *result) {
    (void)number, (void)timeouts;
    here();
    CHECK(status == ARES_ECANCELLED && !result);
    if (++t.cancelled == 20)
        ask("plain", 42, found_last);
}

static void cancel(void *number, int status, int timeouts, struct ares_addrinfo *result) {
    (void)timeouts;
    here();
    CHECK(status == ARES_SUCCESS);
    check_addresses(result, 7, (int)(intptr_t)number, 1);
    CHECK(t.cancelled == 0);
    oneloop_ares_cancel(t.ares);
    CHECK(t.cancelled == 0);
}

int test_cares_cancel(oneloop_t *loop) {
    begin(loop, 5000);
    for (int n = 0; n < 20; n++)
        ask("silent", n, cancelled);
    ask("plain", 41, cancel);
    return failures;
}

/* The loop ends first. */

static void close_loop(void *number, int status, int timeouts, struct ares_addrinfo *result) {
    (void)number, (void)timeouts;
    CHECK(status == ARES_SUCCESS);
    ares_freeaddrinfo(result);
    oneloop_stop(t.loop);
    if (t.closes)
        CHECK(oneloop_close(t.loop) == 0);
}

static int the_loop_ends(oneloop_t *loop, int inside) {
    begin(loop, 5000);
    t.closes = inside;
    ask("silent", 0, gone);
    ask("plain", 0, close_loop);
    return failures;
}

int test_cares_the_loop_ends(oneloop_t *loop) { return the_loop_ends(loop, 0); }
int test_cares_the_loop_ends_inside(oneloop_t *loop) { return the_loop_ends(loop, 1); }

/* No server listens, which is reported at once. */

static void refused(void *number, int status, int timeouts, struct ares_addrinfo *result) {
    (void)number, (void)timeouts;
    here();
    CHECK(status == ARES_ECONNREFUSED && !result);
    CHECK(now() - t.start < 4000 * MS);
    finish();
}

int test_cares_nobody_listens(oneloop_t *loop) {
    begin(loop, 5000);
    ask("plain", 0, refused);
    return failures;
}

/* The host's own code asks. */

static void silent_once(void *number, int status, int timeouts, struct ares_addrinfo *result) {
    (void)number;
    here();
    CHECK(status == ARES_ETIMEOUT && timeouts == 4 && !result);
    finish();
}

int test_cares_beside(oneloop_t *loop) {
    begin(loop, 10);
    return failures;
}

void cares_beside_asks(oneloop_t *loop) {
    (void)loop;
    ask("silent", 0, silent_once);
}

void cares_beside_wakes(oneloop_t *loop) {
    (void)loop;
    oneloop_ares_wake(t.ares);
}
