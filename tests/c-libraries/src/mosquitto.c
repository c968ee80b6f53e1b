/* libmosquitto with a broker that is restarted midway. */

#include "oneloop-mosquitto.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

#define EACH 50

static _Thread_local struct {
    oneloop_t *loop;
    pthread_t thread;
    struct mosquitto *mosq;
    struct oneloop_mosquitto *on;
    int port, connected, lost, got;
} t;

void mosquitto_test_restart(void);

void mosquitto_test_port(int port) {
    memset(&t, 0, sizeof t);
    t.port = port;
}

static void publish(int number) {
    char text[20];
    int length = snprintf(text, sizeof text, "%d", number);
    CHECK(mosquitto_publish(t.mosq, NULL, "numbers", length, text, 1, false) == MOSQ_ERR_SUCCESS);
}

static void connected(struct mosquitto *mosq, void *user, int code) {
    (void)user;
    check_thread(t.thread);
    CHECK(code == 0);
    t.connected++;
    CHECK(mosquitto_subscribe(mosq, NULL, "numbers", 1) == MOSQ_ERR_SUCCESS);
}

static void subscribed(struct mosquitto *mosq, void *user, int id, int count, const int *granted) {
    (void)mosq, (void)user, (void)id, (void)count, (void)granted;
    publish(t.got);
}

static void end(oneloop_t *loop, void *user) {
    (void)user;
    mosquitto_destroy(t.mosq);
    oneloop_stop(loop);
}

static void message(struct mosquitto *mosq, void *user, const struct mosquitto_message *message) {
    (void)mosq, (void)user;
    check_thread(t.thread);
    CHECK(message->payloadlen > 0 && atoi(message->payload) == t.got);
    t.got++;
    if (t.got == EACH) {
        mosquitto_test_restart();
    } else if (t.got == 2 * EACH) {
        CHECK(t.connected == 2 && t.lost > 0);
        oneloop_mosquitto_detach(t.on);
        CHECK(oneloop_call_soon(t.loop, ONELOOP_NORMAL, end, NULL, NULL, NULL) == 0);
    } else {
        publish(t.got);
    }
}

static void disconnected(struct mosquitto *mosq, void *user, int code) {
    (void)mosq, (void)user;
    CHECK(code != 0);
    t.lost++;
}

int test_mosquitto_reconnects(oneloop_t *loop) {
    t.loop = loop;
    t.thread = pthread_self();
    t.mosq = mosquitto_new(NULL, true, NULL);
    mosquitto_connect_callback_set(t.mosq, connected);
    mosquitto_disconnect_callback_set(t.mosq, disconnected);
    mosquitto_subscribe_callback_set(t.mosq, subscribed);
    mosquitto_message_callback_set(t.mosq, message);
    t.on = oneloop_mosquitto_attach(loop, t.mosq);
    CHECK(t.on);
    t.on->retry = 10000000;
    /* The broker may still be starting. It is tried again then. */
    mosquitto_connect_async(t.mosq, "127.0.0.1", t.port, 60);
    return failures;
}

/* The loop ends first, and the client goes after it. */
int late_mosquitto(int loop_last) {
    oneloop_t *loop = oneloop_new();
    struct mosquitto *mosq = mosquitto_new(NULL, true, NULL);
    struct oneloop_mosquitto *on = oneloop_mosquitto_attach(loop, mosq);
    CHECK(on && oneloop_turn(loop, 0, NULL) >= 0);
    if (!loop_last)
        oneloop_free(loop);
    oneloop_mosquitto_wake(on);
    oneloop_mosquitto_detach(on);
    mosquitto_destroy(mosq);
    if (loop_last)
        oneloop_free(loop);
    return failures;
}
