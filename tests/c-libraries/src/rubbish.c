/* Servers that send rubbish. */

#define _GNU_SOURCE
#include "oneloop-cares.h"
#include "oneloop-dbus.h"
#include "oneloop-hiredis.h"
#include "oneloop-libpq.h"
#include "oneloop-pulse.h"
#include "oneloop-sd-bus.h"
#include "oneloop-zmq.h"

#include <netinet/in.h>
#include <pulse/pulseaudio.h>
#include <string.h>

#include "check.h"

static _Thread_local struct {
    oneloop_t *loop;
    int port, replies, disconnects, ticks;
    char address[100];
    struct oneloop_ares *ares;
    pa_mainloop_api *pulse;
    sd_bus *sd_bus;
    void *context, *in, *out;
} t;

void rubbish_test_port(int port) {
    memset(&t, 0, sizeof t);
    t.port = port;
}

/* Other registrations of the loop are not disturbed. */
static void tick(oneloop_t *loop, oneloop_id id, void *user) {
    (void)user;
    if (++t.ticks >= 5 && t.disconnects) {
        oneloop_cancel_timer(loop, id);
        oneloop_stop(loop);
    }
}

static void begin(oneloop_t *loop) {
    t.loop = loop;
    CHECK(oneloop_add_timer(loop, 0, 1000000, tick, NULL, NULL, NULL) == 0);
}

/* Where the server is, as a library has it: its words with the port in them. */
static const char *address(const char *words) {
    snprintf(t.address, sizeof t.address, words, t.port);
    return t.address;
}

static void replied(redisAsyncContext *redis, void *reply, void *user) {
    (void)user;
    CHECK(!reply && redis->err == REDIS_ERR_PROTOCOL);
    t.replies++;
}

static void disconnected(const redisAsyncContext *redis, int status) {
    CHECK(redis->err == REDIS_ERR_PROTOCOL && status == REDIS_ERR);
    CHECK(t.replies == 3);
    t.disconnects++;
}

int test_rubbish_hiredis(oneloop_t *loop) {
    redisAsyncContext *redis;
    begin(loop);
    redis = redisAsyncConnect("127.0.0.1", t.port);
    CHECK(redisOneloopAttach(redis, loop) == REDIS_OK);
    redisAsyncSetDisconnectCallback(redis, disconnected);
    for (int n = 0; n < 3; n++)
        redisAsyncCommand(redis, replied, NULL, "PING");
    return check_failures();
}

static void connected(struct oneloop_pg *pg, int ok) {
    CHECK(!ok && *PQerrorMessage(pg->conn));
    oneloop_pg_close(pg);
    t.disconnects++;
}

int test_rubbish_libpq(oneloop_t *loop) {
    const char *conninfo = address("host=127.0.0.1 port=%d user=test");
    begin(loop);
    CHECK(oneloop_pg_connect(loop, conninfo, ONELOOP_NEVER, connected, NULL));
    return check_failures();
}

static DBusHandlerResult disconnected_bus(DBusConnection *bus, DBusMessage *message, void *user) {
    (void)user;
    if (!dbus_message_is_signal(message, DBUS_INTERFACE_LOCAL, "Disconnected"))
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    dbus_connection_unref(bus);
    t.disconnects++;
    return DBUS_HANDLER_RESULT_HANDLED;
}

int test_rubbish_libdbus(oneloop_t *loop) {
    DBusConnection *bus;
    begin(loop);
    bus = dbus_connection_open_private(address("tcp:host=127.0.0.1,port=%d"), NULL);
    CHECK(bus && dbus_connection_add_filter(bus, disconnected_bus, NULL, NULL));
    CHECK(oneloop_dbus_attach(loop, bus));
    return check_failures();
}

static void lost(struct oneloop_sd_bus *on, int error) {
    CHECK(error < 0);
    oneloop_sd_bus_detach(on);
    sd_bus_close(t.sd_bus);
    sd_bus_unref(t.sd_bus);
    t.disconnects++;
}

int test_rubbish_sd_bus(oneloop_t *loop) {
    begin(loop);
    CHECK(sd_bus_new(&t.sd_bus) >= 0);
    CHECK(sd_bus_set_address(t.sd_bus, address("tcp:host=127.0.0.1,port=%d")) >= 0);
    CHECK(sd_bus_set_bus_client(t.sd_bus, 1) >= 0);
    CHECK(sd_bus_start(t.sd_bus) >= 0);
    CHECK(oneloop_sd_bus_attach(loop, t.sd_bus, lost, NULL));
    return check_failures();
}

/* Answers that are none are no answers: it asks again, and gives up. */
static void found(void *user, int status, int timeouts, struct ares_addrinfo *result) {
    (void)user, (void)timeouts;
    CHECK(status == ARES_ETIMEOUT && !result);
    oneloop_ares_destroy(t.ares);
    t.disconnects++;
}

int test_rubbish_cares(oneloop_t *loop) {
    struct ares_options options = {
        .flags = ARES_FLAG_NOSEARCH, .timeout = 30, .tries = 2, .lookups = (char *)"b"};
    struct ares_addrinfo_hints hints = {.ai_family = AF_INET};
    begin(loop);
    CHECK(oneloop_ares_init(&t.ares, loop, &options,
                            ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                                ARES_OPT_LOOKUPS) == ARES_SUCCESS);
    CHECK(ares_set_servers_ports_csv(t.ares->channel, address("127.0.0.1:%d")) == ARES_SUCCESS);
    ares_getaddrinfo(t.ares->channel, "name.test", NULL, &hints, found, NULL);
    return check_failures();
}

static void context_changed(pa_context *context, void *user) {
    (void)user;
    CHECK(pa_context_get_state(context) != PA_CONTEXT_READY);
    if (PA_CONTEXT_IS_GOOD(pa_context_get_state(context)))
        return;
    CHECK(pa_context_errno(context) != 0);
    pa_context_unref(context);
    oneloop_pulse_free(t.pulse);
    t.disconnects++;
}

int test_rubbish_pulse(oneloop_t *loop) {
    pa_context *context;
    begin(loop);
    t.pulse = oneloop_pulse_new(loop);
    context = pa_context_new(t.pulse, "a program");
    pa_context_set_state_callback(context, context_changed, NULL);
    CHECK(pa_context_connect(context, address("tcp:127.0.0.1:%d"), PA_CONTEXT_NOAUTOSPAWN, NULL) ==
          0);
    return check_failures();
}

/* It tries again and again; another peer of the same socket is heard meanwhile. */
static void readable(struct oneloop_zmq *zmq, int events) {
    char text[10];
    CHECK(events == ZMQ_POLLIN);
    CHECK(zmq_recv(zmq->socket, text, sizeof text, ZMQ_DONTWAIT) == 5 && !memcmp(text, "hello", 5));
    if (t.ticks < 5) {
        CHECK(zmq_send(t.out, "hello", 5, ZMQ_DONTWAIT) == 5);
        return;
    }
    oneloop_zmq_detach(zmq);
    zmq_close(t.in);
    zmq_close(t.out);
    zmq_ctx_term(t.context);
    t.disconnects++;
}

int test_rubbish_zmq(oneloop_t *loop) {
    begin(loop);
    t.context = zmq_ctx_new();
    t.in = zmq_socket(t.context, ZMQ_PULL);
    t.out = zmq_socket(t.context, ZMQ_PUSH);
    CHECK(zmq_connect(t.in, address("tcp://127.0.0.1:%d")) == 0);
    CHECK(zmq_bind(t.in, "inproc://good") == 0 && zmq_connect(t.out, "inproc://good") == 0);
    CHECK(oneloop_zmq_attach(loop, t.in, ZMQ_POLLIN, readable, NULL));
    CHECK(zmq_send(t.out, "hello", 5, 0) == 5);
    return check_failures();
}
