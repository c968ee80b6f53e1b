/* A plug-in that is loaded at run time and not linked with the library: it has only the table that it is
 * given. An echo, a timer and a post on the loop of the program that loads it. */

#define _GNU_SOURCE
#include <oneloop.h>

#include <sys/socket.h>
#include <unistd.h>

static _Thread_local struct {
    const oneloop_api *api;
    int ends[2];
    int read, posted, destroyed;
} t;

static void destroyed(void *user) { ++*(int *)user; }

static int read_byte(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user) {
    char byte;
    (void)loop, (void)id, (void)user;
    t.read += ready == ONELOOP_READABLE && read(fd, &byte, 1) == 1;
    return ONELOOP_REMOVE;
}

static void posted(oneloop_t *loop, void *user) {
    (void)loop, (void)user;
    t.posted++;
    t.read -= write(t.ends[1], "x", 1) != 1;
}

static void is_over(oneloop_t *loop, oneloop_id id, void *user) {
    (void)user;
    if (!t.destroyed)
        return;
    t.api->cancel_timer(loop, id);
    close(t.ends[0]);
    close(t.ends[1]);
    t.api->stop(loop);
}

/* 0 if all could be registered. */
int plugin_start(const oneloop_api *api, oneloop_t *loop) {
    t = (__typeof__(t)){.api = api};
    if (api->version < ONELOOP_API_VERSION || api->size < sizeof *api)
        return -1;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, t.ends) < 0)
        return -1;
    return api->add_handler(loop, t.ends[0], ONELOOP_READABLE, ONELOOP_LEVEL, read_byte,
                            &t.destroyed, destroyed, NULL) |
           api->add_timer(loop, 1000000, 1000000, is_over, NULL, NULL, NULL) |
           api->call_soon(loop, ONELOOP_NORMAL, posted, NULL, NULL, NULL);
}

/* Whether each was called once. */
int plugin_is_over(void) { return t.read == 1 && t.posted == 1 && t.destroyed == 1; }
