/* libmosquitto, for MQTT, on a oneloop loop.
 *
 *   struct mosquitto *mosq = mosquitto_new(NULL, true, user);
 *   mosquitto_connect_callback_set(mosq, on_connect); // which subscribes
 *   struct oneloop_mosquitto *on = oneloop_mosquitto_attach(loop, mosq);
 *   mosquitto_connect_async(mosq, "127.0.0.1", 1883, 60);
 *   ... mosquitto_publish, as ever; the loop does the rest ...
 *   oneloop_mosquitto_detach(on);
 *   mosquitto_destroy(mosq);
 *
 * A connection that is lost, or could not be made, is made again after `retry` nanoseconds. Set that to
 * ONELOOP_NEVER, or detach, before mosquitto_disconnect(). libmosquitto looks up host names, and waits for the
 * answer.
 *
 * Errors: libmosquitto reports the loss of a connection, and an attempt in vain, to its disconnect callback. If it
 * cannot even begin to connect again, that is reported by oneloop_report_error.
 *
 * Code outside of the loop's callbacks, such as a task of its host, calls oneloop_mosquitto_wake after it has
 * used `mosq`.
 *
 * Threads: all of it on the thread that drives the loop.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_MOSQUITTO_H
#define ONELOOP_MOSQUITTO_H

#include <errno.h>
#include <mosquitto.h>
#include <oneloop.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct oneloop_mosquitto {
    oneloop_t *loop;
    struct mosquitto *mosq; /* NULL once it is detached */
    int64_t retry;          /* a second at first; may be changed */
    /* Private. */
    oneloop_id id;
    int64_t lost; /* the time since when there is no connection; 0 if there is one */
    int gone;     /* with the loop, or after it was detached */
};

static inline int64_t oneloop_mosquitto_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* Nanoseconds until the next attempt to connect. */
static inline int64_t oneloop_mosquitto_delay(struct oneloop_mosquitto *on) {
    int64_t now = oneloop_mosquitto_now();
    if (on->retry == ONELOOP_NEVER)
        return ONELOOP_NEVER;
    if (!on->lost)
        on->lost = now;
    return now - on->lost < on->retry ? on->retry - (now - on->lost) : 0;
}

static inline int oneloop_mosquitto_list(oneloop_t *loop, struct pollfd *fds, int room,
                                         int64_t *timeout, void *user) {
    struct oneloop_mosquitto *on = (struct oneloop_mosquitto *)user;
    (void)loop, (void)room;
    if (!on->mosq)
        return 0;
    fds->fd = mosquitto_socket(on->mosq);
    if (fds->fd < 0) {
        *timeout = oneloop_mosquitto_delay(on);
        return 0;
    }
    on->lost = 0;
    fds->events = mosquitto_want_write(on->mosq) ? POLLIN | POLLOUT : POLLIN;
    *timeout = 1000000000; /* for pings, and for messages to be sent again */
    return 1;
}

static inline void oneloop_mosquitto_ready(oneloop_t *loop, struct pollfd *fds, int count,
                                           void *user) {
    struct oneloop_mosquitto *on = (struct oneloop_mosquitto *)user;
    int found = count > 0 ? fds->revents : 0, result;
    /* Each may call back, and a callback may detach. libmosquitto must live on until it has returned. */
    if (on->mosq && found & ~POLLOUT)
        mosquitto_loop_read(on->mosq, 1);
    if (on->mosq && found & POLLOUT)
        mosquitto_loop_write(on->mosq, 1);
    if (on->mosq)
        mosquitto_loop_misc(on->mosq);
    if (on->mosq && mosquitto_socket(on->mosq) < 0 && oneloop_mosquitto_delay(on) == 0) {
        on->lost = 0;
        result = mosquitto_reconnect_async(on->mosq); /* if it fails, the next attempt follows */
        if (result == MOSQ_ERR_ERRNO)
            oneloop_report_error(loop, "libmosquitto", strerror(errno));
        else if (result != MOSQ_ERR_SUCCESS)
            oneloop_report_error(loop, "libmosquitto", mosquitto_strerror(result));
    }
}

static inline void oneloop_mosquitto_gone(void *user) {
    struct oneloop_mosquitto *on = (struct oneloop_mosquitto *)user;
    on->gone = 1;
    if (!on->mosq)
        free(on);
}

/* Has the loop send what could not be sent at once. To be called after code outside of the loop's callbacks
 * has used libmosquitto. Inside them it is not needed. */
static inline void oneloop_mosquitto_wake(struct oneloop_mosquitto *on) {
    if (!on->gone)
        oneloop_wake(on->loop);
}

/* Takes it off the loop, also inside callbacks. mosquitto_destroy() is to be called outside of them, as ever.
 * To be called once, before the loop ends or after. */
static inline void oneloop_mosquitto_detach(struct oneloop_mosquitto *on) {
    on->mosq = NULL;
    if (on->gone)
        free(on);
    else /* which frees it, in a later turn */
        oneloop_remove_pollset(on->loop, on->id);
}

/* Puts a client on a loop, before or after it connects. Returns NULL if there is no memory left, or the loop is
 * closed. */
static inline struct oneloop_mosquitto *oneloop_mosquitto_attach(oneloop_t *loop,
                                                                 struct mosquitto *mosq) {
    struct oneloop_mosquitto *on = (struct oneloop_mosquitto *)calloc(1, sizeof *on);
    if (!on)
        return NULL;
    on->loop = loop;
    on->mosq = mosq;
    on->retry = 1000000000;
    if (oneloop_add_pollset(loop, oneloop_mosquitto_list, oneloop_mosquitto_ready, on,
                            oneloop_mosquitto_gone, &on->id) < 0) {
        free(on);
        return NULL;
    }
    return on;
}

#endif
