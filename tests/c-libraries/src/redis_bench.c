/* One work with hiredis on three loops: rounds of a pipeline, each sent when the one before is
 * answered. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/adapters/libev.h>
#include <hiredis/adapters/libevent.h>
#include <oneloop-hiredis.h>

/* One connection's work. */
struct work {
    int rounds, depth, left;
    bool set; /* SET, not PING */
    bool failed;
    oneloop_t *loop; /* to be stopped, unless it is NULL */
};

static void answered(redisAsyncContext *ac, void *data, void *user);

static void send_round(redisAsyncContext *ac, struct work *work) {
    work->left = work->depth;
    for (int i = 0; i < work->depth; i++)
        if (work->set)
            redisAsyncCommand(ac, answered, work, "SET key:%d value", i);
        else
            redisAsyncCommand(ac, answered, work, "PING");
}

static void answered(redisAsyncContext *ac, void *data, void *user) {
    struct work *work = (struct work *)user;
    redisReply *reply = (redisReply *)data;
    if (!reply || strcmp(reply->str, work->set ? "OK" : "PONG") != 0) {
        work->failed = true;
        return;
    }
    if (--work->left > 0)
        return;
    if (--work->rounds > 0)
        send_round(ac, work);
    else
        redisAsyncDisconnect(ac);
}

static void gone(const redisAsyncContext *ac, int status) {
    struct work *work = (struct work *)ac->data;
    work->failed |= status != REDIS_OK;
    if (work->loop)
        oneloop_stop(work->loop);
}

static void begin(redisAsyncContext *ac, struct work *work) {
    ac->data = work;
    redisAsyncSetDisconnectCallback(ac, gone);
    send_round(ac, work);
}

/* Sets the work up on a loop that the caller drives; redis_bench_end says how it went. */
struct work *redis_bench_oneloop(oneloop_t *loop, const char *path, int rounds, int depth, bool set);
struct work *redis_bench_oneloop(oneloop_t *loop, const char *path, int rounds, int depth,
                                 bool set) {
    struct work *work = (struct work *)calloc(1, sizeof *work);
    redisAsyncContext *ac = redisAsyncConnectUnix(path);
    *work = (struct work){.rounds = rounds, .depth = depth, .set = set, .loop = loop};
    if (redisOneloopAttach(ac, loop) != REDIS_OK)
        abort();
    begin(ac, work);
    return work;
}

/* Whether all was answered. */
bool redis_bench_end(struct work *work);
bool redis_bench_end(struct work *work) {
    bool good = !work->failed && work->rounds == 0;
    free(work);
    return good;
}

/* These drive as well. */
bool redis_bench_libev(const char *path, int rounds, int depth, bool set);
bool redis_bench_libev(const char *path, int rounds, int depth, bool set) {
    struct work work = {.rounds = rounds, .depth = depth, .set = set};
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    redisAsyncContext *ac = redisAsyncConnectUnix(path);
    if (redisLibevAttach(loop, ac) != REDIS_OK)
        abort();
    begin(ac, &work);
    ev_run(loop, 0);
    ev_loop_destroy(loop);
    return !work.failed && work.rounds == 0;
}

bool redis_bench_libevent(const char *path, int rounds, int depth, bool set);
bool redis_bench_libevent(const char *path, int rounds, int depth, bool set) {
    struct work work = {.rounds = rounds, .depth = depth, .set = set};
    struct event_base *base = event_base_new();
    redisAsyncContext *ac = redisAsyncConnectUnix(path);
    if (redisLibeventAttach(ac, base) != REDIS_OK)
        abort();
    begin(ac, &work);
    event_base_dispatch(base);
    event_base_free(base);
    return !work.failed && work.rounds == 0;
}
