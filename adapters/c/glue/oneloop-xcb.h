/* xcb on a oneloop loop.
 *
 *   static void event(struct oneloop_xcb *x, xcb_generic_event_t *event) {
 *       if (!event) // the connection is lost: xcb_connection_has_error(x->connection) says why
 *           oneloop_xcb_detach(x);
 *       free(event);
 *   }
 *   struct oneloop_xcb *x = oneloop_xcb_attach(loop, xcb_connect(NULL, NULL), event, user);
 *
 * Requests are sent when the loop is about to sleep. Waiting for a reply (xcb_wait_for_reply) is fine:
 * events that it reads on the way are not forgotten, though no descriptor shows them any more. Code
 * outside of the loop's callbacks, such as a task of its host, calls oneloop_xcb_wake after it has made
 * requests or waited for replies.
 *
 * Threads: all of it on the thread that drives the loop. Detach before xcb_disconnect(), be that before the
 * loop ends or after.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_XCB_H
#define ONELOOP_XCB_H

#include <oneloop.h>
#include <stdlib.h>
#include <xcb/xcb.h>

struct oneloop_xcb {
    oneloop_t *loop;
    xcb_connection_t *connection; /* NULL once it is detached */
    /* Called with each event, which is the callee's; once with NULL, when the connection is lost. */
    void (*event)(struct oneloop_xcb *x, xcb_generic_event_t *event);
    void *user;
    oneloop_id handler, hook;
    int users; /* its owner, the handler and the hook */
    int gone;  /* the loop has ended */
    int lost;
};

static inline void oneloop_xcb_release(struct oneloop_xcb *x) {
    if (--x->users == 0)
        free(x);
}

/* The handler or the hook is gone: it was detached, or the loop has ended. */
static inline void oneloop_xcb_gone(void *user) {
    struct oneloop_xcb *x = (struct oneloop_xcb *)user;
    x->gone = 1;
    oneloop_xcb_release(x);
}

/* Hands out what `next` gives. Gives how many there were. */
static inline int oneloop_xcb_events(struct oneloop_xcb *x,
                                     xcb_generic_event_t *(*next)(xcb_connection_t *)) {
    xcb_generic_event_t *event;
    int count = 0;
    while (x->connection && (event = next(x->connection))) {
        x->event(x, event);
        count++;
    }
    if (x->connection && !x->lost && xcb_connection_has_error(x->connection)) {
        x->lost = 1;
        oneloop_update_handler(x->loop, x->handler, 0);
        x->event(x, NULL);
        count++;
    }
    return count;
}

static inline int oneloop_xcb_ready(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready,
                                    void *user) {
    (void)loop, (void)id, (void)fd, (void)ready;
    oneloop_xcb_events((struct oneloop_xcb *)user, xcb_poll_for_event);
    return ONELOOP_CONTINUE;
}

/* Before the loop sleeps: handles events that were read while other code waited for a reply. */
static inline int64_t oneloop_xcb_prepare(oneloop_t *loop, void *user) {
    struct oneloop_xcb *x = (struct oneloop_xcb *)user;
    int called = oneloop_xcb_events(x, xcb_poll_for_queued_event);
    (void)loop;
    if (x->connection)
        xcb_flush(x->connection);
    /* Flushing reads if it cannot write, and a callback may have caused further events. */
    called += oneloop_xcb_events(x, xcb_poll_for_queued_event);
    return called ? 0 : ONELOOP_NEVER;
}

/* Has the loop send the requests, and hand out the events that were read. To be called after code outside
 * of the loop's callbacks has used the connection; inside them it is not needed. */
static inline void oneloop_xcb_wake(struct oneloop_xcb *x) {
    if (!x->gone)
        oneloop_wake(x->loop);
}

/* Takes it off the loop, also inside its callback. To be called once. */
static inline void oneloop_xcb_detach(struct oneloop_xcb *x) {
    x->connection = NULL;
    if (!x->gone) {
        oneloop_remove_handler(x->loop, x->handler);
        oneloop_remove_hook(x->loop, x->hook);
    }
    oneloop_xcb_release(x);
}

/* Puts a connection on a loop. NULL if that is not possible. */
static inline struct oneloop_xcb *
oneloop_xcb_attach(oneloop_t *loop, xcb_connection_t *connection,
                   void (*event)(struct oneloop_xcb *x, xcb_generic_event_t *event), void *user) {
    struct oneloop_xcb *x = (struct oneloop_xcb *)calloc(1, sizeof *x);
    if (!x)
        return NULL;
    x->loop = loop;
    x->connection = connection;
    x->event = event;
    x->user = user;
    if (oneloop_add_handler(loop, xcb_get_file_descriptor(connection), ONELOOP_READABLE,
                            ONELOOP_LEVEL, oneloop_xcb_ready, x, oneloop_xcb_gone,
                            &x->handler) < 0) {
        free(x);
        return NULL;
    }
    x->users = 1;
    if (oneloop_add_hook(loop, oneloop_xcb_prepare, NULL, x, oneloop_xcb_gone, &x->hook) < 0) {
        oneloop_remove_handler(loop, x->handler);
        return NULL;
    }
    x->users = 3;
    return x;
}

#endif
