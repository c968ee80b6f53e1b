/* Servers that send rubbish. */

#include "oneloop-hiredis.h"
#include "oneloop-libpq.h"

#include <string.h>

#include "check.h"

static _Thread_local struct {
    oneloop_t *loop;
    int port, replies, disconnects, ticks;
} t;

void rubbish_test_port(int port) {
    memset(&t, 0, sizeof t);
    t.port = port;
}

/* What else is on the loop is not disturbed. */
static void tick(oneloop_t *loop, oneloop_id id, void *user) {
    (void)user;
    if (++t.ticks >= 5 && t.disconnects) {
        oneloop_cancel_timer(loop, id);
        oneloop_stop(loop);
    }
}

static void begin(oneloop_t *loop) {
    oneloop_id id;
    t.loop = loop;
    CHECK(oneloop_add_timer(loop, 0, 1000000, tick, NULL, NULL, &id) == 0);
}

static void replied(redisAsyncContext *redis, void *reply, void *user) {
    (void)user;
    CHECK(!reply && redis->err == REDIS_ERR_PROTOCOL);
    t.replies++;
}

static void disconnected(const redisAsyncContext *redis, int status) {
    CHECK(redis->err == REDIS_ERR_PROTOCOL && status == REDIS_ERR);
    CHECK(t.replies == 3);
    t.disconnects++;
}

int test_rubbish_hiredis(oneloop_t *loop) {
    redisAsyncContext *redis;
    begin(loop);
    redis = redisAsyncConnect("127.0.0.1", t.port);
    CHECK(redisOneloopAttach(redis, loop) == REDIS_OK);
    redisAsyncSetDisconnectCallback(redis, disconnected);
    for (int n = 0; n < 3; n++)
        redisAsyncCommand(redis, replied, NULL, "PING");
    return check_failures();
}

static void connected(struct oneloop_pg *pg, int ok) {
    CHECK(!ok && *PQerrorMessage(pg->conn));
    oneloop_pg_close(pg);
    t.disconnects++;
}

int test_rubbish_libpq(oneloop_t *loop) {
    char conninfo[100];
    begin(loop);
    snprintf(conninfo, sizeof conninfo, "host=127.0.0.1 port=%d user=test", t.port);
    CHECK(oneloop_pg_connect(loop, conninfo, ONELOOP_NEVER, connected, NULL));
    return check_failures();
}
