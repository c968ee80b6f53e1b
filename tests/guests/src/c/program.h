/* A program in C that uses a header of the glue. The file that includes this says for its loop: the type of the
 * loop; new_outer, run_outer, iterate_outer, break_outer and free_outer; and attach. */

#include <errno.h>
#include <oneloop.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            t.failures++;                                                                          \
        }                                                                                          \
    } while (0)

static _Thread_local struct {
    int failures, ends[2], read, fired, posted, ended, error, destroyed;
    oneloop_t *loop;
    outer_t *outer;
    struct oneloop_attached *on;
    pthread_t thread;
} t;

static void end(struct oneloop_attached *on, int error) {
    CHECK(on == t.on && on->loop == t.loop && on->user == &t);
    t.ended++;
    t.error = error;
    break_outer(t.outer);
}

static void destroyed(void *user) {
    CHECK(user == &t);
    t.destroyed++;
}

static void attach_it(void) {
    t.ended = t.error = 0;
    t.on = attach(t.outer, t.loop, 0, end, &t);
    CHECK(t.on);
}

/* A byte, whose handler sets a timer, whose callback starts a thread, which posts. */

static void posted(oneloop_t *loop, void *user) {
    (void)user;
    t.posted++;
    CHECK(oneloop_stop(loop) == 0);
}

static void *post(void *loop) {
    oneloop_call_soon(loop, ONELOOP_NORMAL, posted, NULL, NULL, NULL);
    return NULL;
}

static void fired(oneloop_t *loop, oneloop_id id, void *user) {
    (void)user;
    t.fired++;
    CHECK(oneloop_cancel_timer(loop, id) == 0);
    CHECK(pthread_create(&t.thread, NULL, post, loop) == 0);
}

static int readable(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user) {
    char byte;
    (void)id, (void)user;
    CHECK(ready == ONELOOP_READABLE && read(fd, &byte, 1) == 1);
    t.read++;
    CHECK(oneloop_add_timer(loop, 1000000, 0, fired, NULL, NULL, NULL) == 0);
    return ONELOOP_REMOVE;
}

static void events(void) {
    attach_it();
    CHECK(oneloop_add_handler(t.loop, t.ends[0], ONELOOP_READABLE, ONELOOP_LEVEL, readable, &t, destroyed,
                              NULL) == 0);
    CHECK(write(t.ends[1], "x", 1) == 1);
    run_outer(t.outer);
    pthread_join(t.thread, NULL);
    CHECK(t.read == 1 && t.fired == 1 && t.posted == 1 && t.destroyed == 1);
    CHECK(t.ended == 1 && t.error == 0);
}

/* Only one can drive. */
static void two_hosts(void) {
    attach_it();
    CHECK(!attach(t.outer, t.loop, 0, end, &t));
    CHECK(strstr(oneloop_strerror(), "driven"));
    CHECK(oneloop_run(t.loop) == -EBUSY);
    oneloop_detach(t.on);
    CHECK(t.ended == 0);
    CHECK(oneloop_turn(t.loop, 0, NULL) >= 0);
}

static void detaches(oneloop_t *loop, void *user) {
    CHECK(loop == t.loop && user == &t);
    oneloop_detach(t.on);
    break_outer(t.outer);
}

/* In the middle of a step. Then another drives. */
static void detached_in_a_callback(void) {
    attach_it();
    CHECK(oneloop_call_soon(t.loop, ONELOOP_NORMAL, detaches, &t, destroyed, NULL) == 0);
    run_outer(t.outer);
    CHECK(t.ended == 0 && t.destroyed == 2);
    CHECK(oneloop_call_soon(t.loop, ONELOOP_NORMAL, posted, NULL, NULL, NULL) == 0);
    CHECK(oneloop_run(t.loop) == 0 && t.posted == 2);
}

static void stops(oneloop_t *loop, oneloop_id id, void *user) {
    (void)id, (void)user;
    CHECK(oneloop_stop(loop) == 0);
}

static int runs_inside(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user) {
    char byte;
    (void)id, (void)ready, (void)user;
    CHECK(oneloop_run(loop) == -EBUSY);
    /* The byte is not read yet, and so the host sees the loop's descriptor. */
    for (int n = 0; n < 3; n++)
        iterate_outer(t.outer);
    CHECK(t.ended == 0);
    CHECK(read(fd, &byte, 1) == 1);
    /* The host has to watch again to learn of it. */
    CHECK(oneloop_add_timer(loop, 1000000, 0, stops, NULL, NULL, NULL) == 0);
    return ONELOOP_REMOVE;
}

static void writes(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id, (void)user;
    CHECK(write(t.ends[1], "x", 1) == 1);
}

/* A loop that nothing else holds, and which a callback would drive, as well as its host. */
static void freed_first(void) {
    attach_it();
    CHECK(oneloop_add_handler(t.loop, t.ends[0], ONELOOP_READABLE, ONELOOP_LEVEL, runs_inside, NULL, NULL, NULL) == 0);
    /* Once it sleeps. */
    CHECK(oneloop_add_timer(t.loop, 1000000, 0, writes, &t, destroyed, NULL) == 0);
    oneloop_free(t.loop);
    run_outer(t.outer);
    CHECK(t.ended == 1 && t.error == 0 && t.destroyed == 3);
}

static void closes(oneloop_t *loop, void *user) {
    (void)user;
    CHECK(oneloop_close(loop) == 0);
}

static void closed(void) {
    attach_it();
    CHECK(oneloop_call_soon(t.loop, ONELOOP_NORMAL, closes, NULL, NULL, NULL) == 0);
    run_outer(t.outer);
    CHECK(t.ended == 1 && t.error == -ESHUTDOWN);
    CHECK(!attach(t.outer, t.loop, 0, end, &t));
    CHECK(strstr(oneloop_strerror(), "closed"));
    CHECK(!attach(t.outer, NULL, 0, end, &t));
}

/* The end comes when nothing is left. */
static void empty(void) {
    CHECK(oneloop_add_timer(t.loop, 1000000, 0, fired, NULL, NULL, NULL) == 0);
    CHECK(t.on = attach(t.outer, t.loop, ONELOOP_HOST_EXIT_WHEN_EMPTY, LAST_END, &t));
    run_outer(t.outer);
    pthread_join(t.thread, NULL);
    CHECK(t.fired == 2);
}

int PROGRAM(void) {
    memset(&t, 0, sizeof t);
    CHECK(t.outer = new_outer());
    CHECK(t.loop = oneloop_new());
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, t.ends) == 0);
    events();
    two_hosts();
    detached_in_a_callback();
    freed_first();
    CHECK(t.loop = oneloop_new());
    closed();
    oneloop_free(t.loop);
    CHECK(t.loop = oneloop_new());
    empty();
    oneloop_free(t.loop);
    free_outer(t.outer);
    close(t.ends[0]), close(t.ends[1]);
    return t.failures;
}
