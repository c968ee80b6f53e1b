/* hiredis on a loop, with a timer: counts in a Redis, five times, and listens to itself doing so.
 *
 *   adapters/c/install.sh /some/prefix
 *   cc examples/c/redis.c -lhiredis \
 *       $(PKG_CONFIG_PATH=/some/prefix/lib/pkgconfig pkg-config --cflags --libs oneloop)
 *   ./a.out 127.0.0.1 6379
 */

#include <oneloop-hiredis.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define TIMES 5
#define PERIOD 20000000 /* nanoseconds */

static oneloop_t *loop;
static redisAsyncContext *commands, *messages;
static int heard;

static void counted(redisAsyncContext *redis, void *answer, void *user) {
    redisReply *reply = answer;
    (void)redis, (void)user;
    if (!reply || reply->type == REDIS_REPLY_ERROR)
        fprintf(stderr, "INCR: %s\n", reply ? reply->str : "the connection is lost");
    else
        redisAsyncCommand(commands, NULL, NULL, "PUBLISH counted %lld", reply->integer);
}

static void tick(oneloop_t *loop, oneloop_id id, void *user) {
    int *left = user;
    redisAsyncCommand(commands, counted, NULL, "INCR count");
    if (--*left == 0)
        oneloop_cancel_timer(loop, id);
}

/* Called for the subscription, and then for each message. */
static void message(redisAsyncContext *redis, void *answer, void *user) {
    redisReply *reply = answer;
    if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
        return;
    if (strcmp(reply->element[0]->str, "subscribe") == 0) {
        oneloop_add_timer(loop, 0, PERIOD, tick, user, NULL, NULL);
    } else if (strcmp(reply->element[0]->str, "message") == 0) {
        printf("%s\n", reply->element[2]->str);
        if (++heard == TIMES) {
            /* Nothing is left then that could call back, and so the loop ends. */
            redisAsyncDisconnect(redis);
            redisAsyncDisconnect(commands);
        }
    }
}

static redisAsyncContext *connect_to(const char *host, int port) {
    redisAsyncContext *redis = redisAsyncConnect(host, port);
    if (redis && redis->err == 0 && redisOneloopAttach(redis, loop) == REDIS_OK)
        return redis;
    fprintf(stderr, "%s:%d: %s\n", host, port, redis ? redis->errstr : "no memory");
    exit(1);
}

int main(int count, char **arguments) {
    if (count > 1 && !strcmp(arguments[1], "--help"))
        return puts("Counts in a Redis with hiredis on a loop, five times, and listens to itself doing so.\n\n"
                    "Usage: redis [HOST [PORT]]\n\n"
                    "  HOST     of the server (default: 127.0.0.1)\n"
                    "  PORT     of the server (default: 6379)\n"
                    "  --help   this text"),
               0;
    const char *host = count > 1 ? arguments[1] : "127.0.0.1";
    int port = count > 2 ? atoi(arguments[2]) : 6379;
    int left = TIMES;
    signal(SIGPIPE, SIG_IGN);
    loop = oneloop_new();
    commands = connect_to(host, port);
    messages = connect_to(host, port);
    redisAsyncCommand(messages, message, &left, "SUBSCRIBE counted");
    int result = oneloop_run(loop);
    if (result < 0)
        fprintf(stderr, "%s\n", oneloop_strerror());
    oneloop_free(loop);
    return result < 0 || heard < TIMES;
}
