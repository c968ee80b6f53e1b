/* A socket of ZeroMQ (libzmq) on a oneloop loop.
 *
 *   static void ready(struct oneloop_zmq *zmq, int events) {
 *       char text[100];
 *       zmq_recv(zmq->socket, text, sizeof text, ZMQ_DONTWAIT); // one, or as many as there are
 *   }
 *   struct oneloop_zmq *zmq = oneloop_zmq_attach(loop, socket, ZMQ_POLLIN, ready, user);
 *
 * Called in every turn in which the socket is ready for what was asked, as ZMQ_EVENTS has it. Its
 * descriptor tells only that this may have changed, and not even that after zmq_send and zmq_recv. So code
 * outside of the loop's callbacks, such as a task of its host, calls oneloop_zmq_wake after it has used
 * the socket (zmq_send, zmq_recv, zmq_getsockopt, zmq_poll) or has changed `wanted`.
 *
 * Errors: if the socket cannot be asked any more, because its context was terminated for example, that is reported
 * once by oneloop_report_error. `ready` is not called after that.
 *
 * Threads: all of it on the thread that drives the loop, as for the socket. Detach before zmq_close(), be
 * that before the loop ends or after.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_ZMQ_H
#define ONELOOP_ZMQ_H

#include <errno.h>
#include <oneloop.h>
#include <stdlib.h>
#include <zmq.h>

struct oneloop_zmq {
    oneloop_t *loop;
    void *socket; /* NULL once it is detached */
    int wanted;   /* ZMQ_POLLIN, ZMQ_POLLOUT, both or 0; may be changed */
    void (*ready)(struct oneloop_zmq *zmq, int events);
    void *user;
    oneloop_id handler, hook;
    int users; /* its owner, the handler and the hook */
    int gone;  /* the loop has ended */
};

static inline void oneloop_zmq_release(struct oneloop_zmq *zmq) {
    if (--zmq->users == 0)
        free(zmq);
}

/* The handler or the hook is gone: it was detached, or the loop has ended. */
static inline void oneloop_zmq_gone(void *user) {
    struct oneloop_zmq *zmq = (struct oneloop_zmq *)user;
    zmq->gone = 1;
    oneloop_zmq_release(zmq);
}

/* Returns the readiness that is wanted and there. To ask also quiets the descriptor. */
static inline int oneloop_zmq_events(struct oneloop_zmq *zmq) {
    int events = 0;
    size_t size = sizeof events;
    if (!zmq->socket)
        return 0;
    if (zmq_getsockopt(zmq->socket, ZMQ_EVENTS, &events, &size) < 0) {
        if (errno == EINTR)
            return 0;
        oneloop_report_error(zmq->loop, "libzmq", zmq_strerror(errno));
        zmq->socket = NULL; /* it is not asked again, and its descriptor may stay readable */
        oneloop_update_handler(zmq->loop, zmq->handler, 0);
        return 0;
    }
    return events & zmq->wanted;
}

static inline int oneloop_zmq_woken(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready,
                                    void *user) {
    (void)loop, (void)id, (void)fd, (void)ready, (void)user;
    return ONELOOP_CONTINUE; /* It only had to wake: `check` has asked already. */
}

static inline int64_t oneloop_zmq_prepare(oneloop_t *loop, void *user) {
    (void)loop;
    return oneloop_zmq_events((struct oneloop_zmq *)user) ? 0 : ONELOOP_NEVER;
}

static inline void oneloop_zmq_check(oneloop_t *loop, void *user) {
    struct oneloop_zmq *zmq = (struct oneloop_zmq *)user;
    int events = oneloop_zmq_events(zmq);
    (void)loop;
    if (events)
        zmq->ready(zmq, events);
}

/* Has the loop ask the socket again. To be called after code outside of the loop's callbacks has used it;
 * inside them it is not needed. */
static inline void oneloop_zmq_wake(struct oneloop_zmq *zmq) {
    if (!zmq->gone)
        oneloop_wake(zmq->loop);
}

/* Takes it off the loop, also inside its callback. To be called once. */
static inline void oneloop_zmq_detach(struct oneloop_zmq *zmq) {
    zmq->socket = NULL;
    if (!zmq->gone) {
        oneloop_remove_handler(zmq->loop, zmq->handler);
        oneloop_remove_hook(zmq->loop, zmq->hook);
    }
    oneloop_zmq_release(zmq);
}

/* Puts a socket on a loop. NULL if that is not possible. */
static inline struct oneloop_zmq *
oneloop_zmq_attach(oneloop_t *loop, void *socket, int wanted,
                   void (*ready)(struct oneloop_zmq *zmq, int events), void *user) {
    struct oneloop_zmq *zmq = (struct oneloop_zmq *)calloc(1, sizeof *zmq);
    int fd;
    size_t size = sizeof fd;
    if (!zmq)
        return NULL;
    zmq->loop = loop;
    zmq->socket = socket;
    zmq->wanted = wanted;
    zmq->ready = ready;
    zmq->user = user;
    if (zmq_getsockopt(socket, ZMQ_FD, &fd, &size) < 0 ||
        oneloop_add_handler(loop, fd, ONELOOP_READABLE, ONELOOP_LEVEL, oneloop_zmq_woken, zmq,
                            oneloop_zmq_gone, &zmq->handler) < 0) {
        free(zmq);
        return NULL;
    }
    zmq->users = 1;
    if (oneloop_add_hook(loop, oneloop_zmq_prepare, oneloop_zmq_check, zmq, oneloop_zmq_gone,
                         &zmq->hook) < 0) {
        oneloop_remove_handler(loop, zmq->handler);
        return NULL;
    }
    zmq->users = 3;
    return zmq;
}

#endif
