/* libzmq: two sockets on one loop, connected by TCP. */

#include "oneloop-zmq.h"

#include <pthread.h>
#include <string.h>

#include "check.h"

#define MESSAGES 1000

static _Thread_local struct {
    oneloop_t *loop;
    pthread_t thread;
    void *context, *out, *in;
    struct oneloop_zmq *push, *pull;
    int sent, received, calls, drain;
} t;

static void here(void) { check_thread(t.thread); }

static void writable(struct oneloop_zmq *zmq, int events) {
    here();
    CHECK(events == ZMQ_POLLOUT);
    /* Until there is no room, of which there is little. */
    while (t.sent < MESSAGES && zmq_send(zmq->socket, &t.sent, sizeof t.sent, ZMQ_DONTWAIT) > 0)
        t.sent++;
    if (t.sent == MESSAGES)
        zmq->wanted = 0;
}

static void readable(struct oneloop_zmq *zmq, int events) {
    int number;
    here();
    CHECK(events == ZMQ_POLLIN);
    t.calls++;
    do {
        if (zmq_recv(zmq->socket, &number, sizeof number, ZMQ_DONTWAIT) < 0)
            break;
        CHECK(number == t.received);
        t.received++;
    } while (t.drain && t.received < MESSAGES);
    if (t.received < MESSAGES)
        return;
    CHECK(t.drain || t.calls == MESSAGES);
    oneloop_zmq_detach(t.push);
    oneloop_zmq_detach(t.pull);
    zmq_close(t.in);
    zmq_close(t.out);
    zmq_ctx_term(t.context);
    oneloop_stop(t.loop);
}

static int begin(oneloop_t *loop, int drain) {
    int room = 10;
    char place[100];
    size_t size = sizeof place;
    memset(&t, 0, sizeof t);
    t.loop = loop;
    t.thread = pthread_self();
    t.drain = drain;
    t.context = zmq_ctx_new();
    t.in = zmq_socket(t.context, ZMQ_PULL);
    t.out = zmq_socket(t.context, ZMQ_PUSH);
    zmq_setsockopt(t.in, ZMQ_RCVHWM, &room, sizeof room);
    zmq_setsockopt(t.out, ZMQ_SNDHWM, &room, sizeof room);
    CHECK(zmq_bind(t.in, "tcp://127.0.0.1:*") == 0);
    CHECK(zmq_getsockopt(t.in, ZMQ_LAST_ENDPOINT, place, &size) == 0);
    CHECK(zmq_connect(t.out, place) == 0);
    t.push = oneloop_zmq_attach(loop, t.out, ZMQ_POLLOUT, writable, NULL);
    t.pull = oneloop_zmq_attach(loop, t.in, ZMQ_POLLIN, readable, NULL);
    CHECK(t.push && t.pull);
    return check_failures();
}

int test_zmq_one_at_a_time(oneloop_t *loop) { return begin(loop, 0); }

int test_zmq_drained(oneloop_t *loop) { return begin(loop, 1); }

/* The host's own code. */

static void heard(struct oneloop_zmq *zmq, int events) {
    char text[10];
    here();
    CHECK(events == ZMQ_POLLIN);
    CHECK(zmq_recv(zmq->socket, text, sizeof text, ZMQ_DONTWAIT) == 6);
    oneloop_zmq_detach(zmq);
    zmq_close(t.in);
    zmq_close(t.out);
    zmq_ctx_term(t.context);
    oneloop_stop(t.loop);
}

int test_zmq_beside(oneloop_t *loop) {
    memset(&t, 0, sizeof t);
    t.loop = loop;
    t.thread = pthread_self();
    t.context = zmq_ctx_new();
    t.in = zmq_socket(t.context, ZMQ_PAIR);
    t.out = zmq_socket(t.context, ZMQ_PAIR);
    CHECK(zmq_bind(t.in, "inproc://beside") == 0);
    CHECK(zmq_connect(t.out, "inproc://beside") == 0);
    t.pull = oneloop_zmq_attach(loop, t.in, ZMQ_POLLIN, heard, NULL);
    CHECK(t.pull != NULL);
    return check_failures();
}

/* Sends if there is room. To ask takes the edge of what has come meanwhile. */
void zmq_beside_uses(oneloop_t *loop) {
    int events = 0;
    size_t size = sizeof events;
    (void)loop;
    CHECK(zmq_send(t.out, "answer", 6, 0) == 6);
    CHECK(zmq_getsockopt(t.in, ZMQ_EVENTS, &events, &size) == 0);
    CHECK(events == (ZMQ_POLLIN | ZMQ_POLLOUT));
    CHECK(zmq_send(t.in, "hello", 5, 0) == 5);
}

void zmq_beside_wakes(oneloop_t *loop) {
    (void)loop;
    oneloop_zmq_wake(t.pull);
}

/* A context that is terminated: the glue reports that its socket is of no use, once. */

int test_zmq_terminated(oneloop_t *loop) {
    memset(&t, 0, sizeof t);
    t.loop = loop;
    t.context = zmq_ctx_new();
    t.in = zmq_socket(t.context, ZMQ_PULL);
    t.pull = oneloop_zmq_attach(loop, t.in, ZMQ_POLLIN, readable, NULL);
    CHECK(t.pull && zmq_ctx_shutdown(t.context) == 0);
    return failures;
}

void zmq_terminated_end(void) {
    oneloop_zmq_detach(t.pull);
    zmq_close(t.in);
    zmq_ctx_term(t.context);
}
