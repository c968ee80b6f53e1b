/* librdkafka on a oneloop loop: a queue of its events.
 *
 *   static void happened(struct oneloop_rdkafka *on, rd_kafka_event_t *event) {
 *       ... rd_kafka_event_type(event) ...
 *   }
 *   ...
 *   rd_kafka_queue_t *queue = rd_kafka_queue_get_main(producer); // or rd_kafka_queue_get_consumer(consumer)
 *   struct oneloop_rdkafka *on = oneloop_rdkafka_attach(loop, queue, happened, user);
 *   ...
 *   oneloop_rdkafka_detach(on);
 *   rd_kafka_queue_destroy(queue);
 *
 * An event is destroyed when `happened` has returned, and its messages with it. Without `happened`, librdkafka
 * calls the callbacks of its configuration instead, such as dr_msg_cb. What is to become an event,
 * rd_kafka_conf_set_events() says. Callbacks must not destroy the queue or its client.
 *
 * Errors: librdkafka reports its own as events, of the type RD_KAFKA_EVENT_ERROR.
 *
 * Threads: attach, detach and the callbacks on the thread that drives the loop. librdkafka's own threads wake the
 * loop by a pipe.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_RDKAFKA_H
#define ONELOOP_RDKAFKA_H

#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <oneloop.h>
#include <stdlib.h>
#include <unistd.h>

struct oneloop_rdkafka {
    oneloop_t *loop;
    rd_kafka_queue_t *queue; /* NULL once it is detached */
    void (*happened)(struct oneloop_rdkafka *on, rd_kafka_event_t *event);
    void *user;
    /* Private. */
    int ends[2]; /* of the pipe */
    oneloop_id id;
    int gone; /* with the loop, or after it was detached */
};

static inline int oneloop_rdkafka_ready(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready,
                                        void *user) {
    struct oneloop_rdkafka *on = (struct oneloop_rdkafka *)user;
    char bytes[64];
    int left = 100; /* so that other handlers have their share */
    (void)loop, (void)id, (void)ready;
    while (read(fd, bytes, sizeof bytes) > 0)
        ;
    /* A byte comes only when the queue was empty. */
    for (; on->queue && left > 0; left--) {
        if (on->happened) {
            rd_kafka_event_t *event = rd_kafka_queue_poll(on->queue, 0);
            if (!event)
                return ONELOOP_CONTINUE;
            on->happened(on, event);
            rd_kafka_event_destroy(event);
        } else if (rd_kafka_queue_poll_callback(on->queue, 0) == 0) {
            return ONELOOP_CONTINUE;
        }
    }
    return ONELOOP_AGAIN;
}

static inline void oneloop_rdkafka_gone(void *user) {
    struct oneloop_rdkafka *on = (struct oneloop_rdkafka *)user;
    on->gone = 1;
    if (!on->queue)
        free(on);
}

/* Takes the queue off the loop, also inside its callback, before rd_kafka_queue_destroy(). To be called once, before
 * the loop ends or after. */
static inline void oneloop_rdkafka_detach(struct oneloop_rdkafka *on) {
    rd_kafka_queue_io_event_enable(on->queue, -1, NULL, 0);
    on->queue = NULL;
    if (!on->gone)
        oneloop_remove_handler(on->loop, on->id);
    close(on->ends[0]);
    close(on->ends[1]);
    if (on->gone)
        free(on);
}

/* Puts a queue on a loop. Returns NULL if there are no descriptors or no memory left, or the loop is closed. */
static inline struct oneloop_rdkafka *
oneloop_rdkafka_attach(oneloop_t *loop, rd_kafka_queue_t *queue,
                       void (*happened)(struct oneloop_rdkafka *on, rd_kafka_event_t *event),
                       void *user) {
    struct oneloop_rdkafka *on = (struct oneloop_rdkafka *)calloc(1, sizeof *on);
    int end;
    if (!on)
        return NULL;
    on->loop = loop;
    on->queue = queue;
    on->happened = happened;
    on->user = user;
    if (pipe(on->ends) < 0) {
        free(on);
        return NULL;
    }
    for (end = 0; end < 2; end++) {
        fcntl(on->ends[end], F_SETFL, O_NONBLOCK);
        fcntl(on->ends[end], F_SETFD, FD_CLOEXEC);
    }
    if (oneloop_add_handler(loop, on->ends[0], ONELOOP_READABLE, ONELOOP_LEVEL,
                            oneloop_rdkafka_ready, on, oneloop_rdkafka_gone, &on->id) < 0) {
        close(on->ends[0]);
        close(on->ends[1]);
        free(on);
        return NULL;
    }
    rd_kafka_queue_io_event_enable(queue, on->ends[1], "x", 1);
    /* For what is in the queue already. A pipe that is full has a byte, too. */
    if (write(on->ends[1], "x", 1) < 0)
        (void)0;
    return on;
}

#endif
