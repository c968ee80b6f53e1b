/* The loop ends before what was attached to it, or after. Then that is used once more, and goes. */

#define _GNU_SOURCE
#include "oneloop-avahi.h"
#include "oneloop-curl.h"
#include "oneloop-dbus.h"
#include "oneloop-pulse.h"
#include "oneloop-sd-bus.h"
#include "oneloop-xcb.h"
#include "oneloop-zmq.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

enum order { LOOP_FIRST, LOOP_LAST, LOOP_LAST_AFTER_A_TURN };

static void end_loop(oneloop_t *loop, enum order order, enum order now) {
    if (now == LOOP_LAST && order == LOOP_LAST_AFTER_A_TURN)
        CHECK(oneloop_turn(loop, 0, NULL) >= 0);
    if ((now == LOOP_FIRST) == (order == LOOP_FIRST))
        oneloop_free(loop);
}

static void zmq_ready(struct oneloop_zmq *zmq, int events) { (void)zmq, (void)events; }

int late_zmq(enum order order) {
    oneloop_t *loop = oneloop_new();
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_PAIR);
    struct oneloop_zmq *zmq = oneloop_zmq_attach(loop, socket, ZMQ_POLLIN, zmq_ready, NULL);
    CHECK(zmq);
    end_loop(loop, order, LOOP_FIRST);
    oneloop_zmq_wake(zmq);
    oneloop_zmq_detach(zmq);
    zmq_close(socket);
    zmq_ctx_term(context);
    end_loop(loop, order, LOOP_LAST);
    return failures;
}

int late_sd_bus(enum order order) {
    oneloop_t *loop = oneloop_new();
    sd_bus *bus = NULL;
    struct oneloop_sd_bus *on;
    CHECK(sd_bus_open_user(&bus) >= 0);
    CHECK(on = oneloop_sd_bus_attach(loop, bus, NULL, NULL));
    end_loop(loop, order, LOOP_FIRST);
    oneloop_sd_bus_wake(on);
    oneloop_sd_bus_detach(on);
    sd_bus_flush_close_unref(bus);
    end_loop(loop, order, LOOP_LAST);
    return failures;
}

static void x_event(struct oneloop_xcb *x, xcb_generic_event_t *event) {
    (void)x;
    free(event);
}

int late_xcb(enum order order) {
    oneloop_t *loop = oneloop_new();
    xcb_connection_t *connection = xcb_connect(NULL, NULL);
    struct oneloop_xcb *x = oneloop_xcb_attach(loop, connection, x_event, NULL);
    CHECK(x);
    end_loop(loop, order, LOOP_FIRST);
    oneloop_xcb_wake(x);
    oneloop_xcb_detach(x);
    xcb_disconnect(connection);
    end_loop(loop, order, LOOP_LAST);
    return failures;
}

/* A connection on which a call is made, which adds a timeout. */

static DBusPendingCall *call(DBusConnection *bus) {
    DBusPendingCall *call = NULL;
    DBusMessage *message = dbus_message_new_method_call(
        "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetId");
    CHECK(dbus_connection_send_with_reply(bus, message, &call, 10000));
    dbus_message_unref(message);
    return call;
}

static void answered(DBusPendingCall *call, void *loop) {
    (void)call;
    oneloop_stop(loop);
}

/* It is answered on a loop. */
static void call_on(oneloop_t *loop, DBusConnection *bus) {
    DBusPendingCall *waiting = call(bus);
    CHECK(dbus_pending_call_set_notify(waiting, answered, loop, NULL));
    CHECK(oneloop_run(loop) == 0);
    CHECK(dbus_pending_call_get_completed(waiting));
    dbus_pending_call_unref(waiting);
}

static DBusConnection *private_bus(void) {
    DBusConnection *bus = dbus_bus_get_private(DBUS_BUS_SESSION, NULL);
    CHECK(bus);
    dbus_connection_set_exit_on_disconnect(bus, FALSE);
    return bus;
}

int late_dbus(enum order order) {
    oneloop_t *loop = oneloop_new(), *other = oneloop_new();
    DBusConnection *bus = private_bus();
    DBusPendingCall *waiting;
    CHECK(oneloop_dbus_attach(loop, bus));
    call_on(loop, bus);
    end_loop(loop, order, LOOP_FIRST);
    /* It lives on without a loop, */
    waiting = call(bus);
    dbus_connection_flush(bus);
    dbus_pending_call_block(waiting);
    dbus_pending_call_unref(waiting);
    waiting = call(bus);
    dbus_pending_call_cancel(waiting);
    dbus_pending_call_unref(waiting);
    /* and on another. */
    CHECK(oneloop_dbus_attach(other, bus));
    call_on(other, bus);
    if (order != LOOP_FIRST)
        oneloop_dbus_detach(bus);
    dbus_connection_close(bus);
    dbus_connection_unref(bus);
    end_loop(loop, order, LOOP_LAST);
    oneloop_free(other);
    return failures;
}

/* Attached twice, and moved to another loop and back, with a call under way. */
int dbus_moves(void) {
    oneloop_t *loop = oneloop_new(), *other = oneloop_new();
    DBusConnection *bus = private_bus();
    DBusPendingCall *waiting;
    CHECK(oneloop_dbus_attach(loop, bus) && oneloop_dbus_attach(loop, bus));
    call_on(loop, bus);
    waiting = call(bus);
    CHECK(oneloop_dbus_attach(other, bus));
    dbus_pending_call_set_notify(waiting, answered, other, NULL);
    CHECK(oneloop_run(other) == 0);
    dbus_pending_call_unref(waiting);
    CHECK(oneloop_dbus_attach(loop, bus));
    call_on(loop, bus);
    CHECK(oneloop_turn(other, 0, NULL) >= 0);
    CHECK(oneloop_is_alive(other) == 0);
    dbus_connection_close(bus);
    dbus_connection_unref(bus);
    CHECK(oneloop_turn(loop, 0, NULL) >= 0);
    CHECK(oneloop_is_alive(loop) == 0);
    oneloop_free(loop);
    oneloop_free(other);
    return failures;
}

/* A server of libdbus, and its client. */

static _Thread_local struct {
    oneloop_t *loop;
    DBusServer *server;
    DBusConnection *client, *accepted;
} d;

static DBusHandlerResult serve(DBusConnection *connection, DBusMessage *message, void *user) {
    (void)user;
    if (!dbus_message_is_method_call(message, "a.b", "Ping"))
        return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;
    DBusMessage *reply = dbus_message_new_method_return(message);
    CHECK(dbus_connection_send(connection, reply, NULL));
    dbus_message_unref(reply);
    return DBUS_HANDLER_RESULT_HANDLED;
}

static void accepted(DBusServer *server, DBusConnection *connection, void *user) {
    (void)server, (void)user;
    d.accepted = dbus_connection_ref(connection);
    CHECK(dbus_connection_add_filter(connection, serve, NULL, NULL));
    CHECK(oneloop_dbus_attach(d.loop, connection));
}

static void server_answered(DBusPendingCall *call, void *user) {
    DBusMessage *reply = dbus_pending_call_steal_reply(call);
    (void)user;
    CHECK(dbus_message_get_type(reply) == DBUS_MESSAGE_TYPE_METHOD_RETURN);
    dbus_message_unref(reply);
    dbus_pending_call_unref(call);
    for (int n = 0; n < 2; n++) {
        DBusConnection *end = n ? d.accepted : d.client;
        dbus_connection_close(end);
        dbus_connection_unref(end);
    }
    dbus_server_disconnect(d.server);
    oneloop_dbus_detach_server(d.server);
    dbus_server_unref(d.server);
    oneloop_stop(d.loop);
}

int test_dbus_server(oneloop_t *loop) {
    DBusPendingCall *call;
    DBusMessage *message = dbus_message_new_method_call(NULL, "/a", "a.b", "Ping");
    char *address;
    d.loop = loop;
    d.server = dbus_server_listen("unix:tmpdir=/tmp", NULL);
    CHECK(d.server);
    dbus_server_set_new_connection_function(d.server, accepted, NULL, NULL);
    CHECK(oneloop_dbus_attach_server(loop, d.server) && oneloop_dbus_attach_server(loop, d.server));
    address = dbus_server_get_address(d.server);
    d.client = dbus_connection_open_private(address, NULL);
    dbus_free(address);
    CHECK(d.client && oneloop_dbus_attach(loop, d.client));
    dbus_connection_set_exit_on_disconnect(d.client, FALSE);
    CHECK(dbus_connection_send_with_reply(d.client, message, &call, 30000));
    dbus_message_unref(message);
    CHECK(dbus_pending_call_set_notify(call, server_answered, NULL, NULL));
    return failures;
}

/* A transfer that is under way, to a server that does not answer. */

static void curl_done(struct oneloop_curl *curl, CURL *easy, CURLcode result, void *user) {
    (void)curl, (void)easy, (void)result, (void)user;
    CHECK(!"done");
}

int late_curl(enum order order) {
    oneloop_t *loop = oneloop_new();
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    char url[64];
    CURLM *multi = curl_multi_init();
    CURL *easy = curl_easy_init();
    struct oneloop_curl *curl = oneloop_curl_attach(loop, multi, curl_done, NULL);
    CHECK(bind(listener, (struct sockaddr *)&here, size) == 0 && listen(listener, 4) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&here, &size) == 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(here.sin_port));
    curl_easy_setopt(easy, CURLOPT_URL, url);
    CHECK(oneloop_curl_keep(curl, easy));
    CHECK(curl_multi_add_handle(multi, easy) == CURLM_OK);
    while (!curl->sockets)
        CHECK(oneloop_turn(loop, ONELOOP_NEVER, NULL) >= 0);
    end_loop(loop, order, LOOP_FIRST);
    curl_multi_remove_handle(multi, easy);
    oneloop_curl_detach(curl);
    curl_easy_cleanup(easy);
    curl_multi_cleanup(multi);
    close(listener);
    end_loop(loop, order, LOOP_LAST);
    return failures;
}

/* The tables of Avahi and PulseAudio, by their functions, as the libraries call them. */

static void watched(AvahiWatch *watch, int fd, AvahiWatchEvent event, void *user) {
    (void)watch, (void)fd, (void)event, (void)user;
}

static void timed(AvahiTimeout *timeout, void *user) { (void)timeout, (void)user; }

int late_avahi(enum order order) {
    oneloop_t *loop = oneloop_new();
    AvahiPoll *poll = oneloop_avahi_new(loop);
    struct timeval time = {0, 0};
    int ends[2];
    AvahiWatch *watch;
    AvahiTimeout *timeout;
    CHECK(pipe(ends) == 0);
    CHECK(watch = poll->watch_new(poll, ends[0], AVAHI_WATCH_IN, watched, NULL));
    CHECK(timeout = poll->timeout_new(poll, NULL, timed, NULL));
    end_loop(loop, order, LOOP_FIRST);
    poll->watch_update(watch, AVAHI_WATCH_OUT);
    poll->timeout_update(timeout, &time);
    poll->watch_free(watch);
    poll->timeout_free(timeout);
    oneloop_avahi_free(poll);
    close(ends[0]), close(ends[1]);
    end_loop(loop, order, LOOP_LAST);
    return failures;
}

static int pulse_destroyed;

static void io_called(pa_mainloop_api *api, pa_io_event *event, int fd, pa_io_event_flags_t flags,
                      void *user) {
    (void)api, (void)event, (void)fd, (void)flags, (void)user;
}
static void time_called(pa_mainloop_api *api, pa_time_event *event, const struct timeval *time,
                        void *user) {
    (void)api, (void)event, (void)time, (void)user;
}
static void defer_called(pa_mainloop_api *api, pa_defer_event *event, void *user) {
    (void)api, (void)event, (void)user;
}
static void io_destroyed(pa_mainloop_api *api, pa_io_event *event, void *user) {
    (void)api, (void)event, (void)user;
    pulse_destroyed++;
}

int late_pulse(enum order order) {
    oneloop_t *loop = oneloop_new();
    pa_mainloop_api *api = oneloop_pulse_new(loop);
    struct timeval time = {0, 0};
    int ends[2];
    CHECK(pipe(ends) == 0);
    pa_io_event *io = api->io_new(api, ends[0], PA_IO_EVENT_INPUT, io_called, NULL);
    pa_time_event *timer = api->time_new(api, NULL, time_called, NULL);
    pa_defer_event *defer = api->defer_new(api, defer_called, NULL);
    pulse_destroyed = 0;
    api->io_set_destroy(io, io_destroyed);
    end_loop(loop, order, LOOP_FIRST);
    api->io_enable(io, PA_IO_EVENT_OUTPUT);
    api->time_restart(timer, &time);
    api->defer_enable(defer, 0);
    CHECK(pulse_destroyed == 0);
    api->io_free(io);
    api->time_free(timer);
    api->defer_free(defer);
    oneloop_pulse_free(api);
    close(ends[0]), close(ends[1]);
    end_loop(loop, order, LOOP_LAST);
    CHECK(pulse_destroyed == 1);
    return failures;
}

/* Times whose microseconds are a second and more: some libraries add to them, and carry nothing. */

static _Thread_local struct {
    oneloop_t *loop;
    AvahiPoll *poll;
    pa_mainloop_api *api;
    int fired;
} o;

static void fired(void) {
    if (++o.fired < 3)
        return;
    oneloop_avahi_free(o.poll);
    oneloop_pulse_free(o.api);
    oneloop_stop(o.loop);
}

static void avahi_fired(AvahiTimeout *timeout, void *user) {
    (void)user;
    o.poll->timeout_free(timeout);
    fired();
}

static void pulse_fired(pa_mainloop_api *api, pa_time_event *event, const struct timeval *time,
                        void *user) {
    (void)time, (void)user;
    api->time_free(event);
    fired();
}

int test_times_out_of_range(oneloop_t *loop) {
    struct timespec now;
    struct timeval time;
    memset(&o, 0, sizeof o);
    o.loop = loop;
    o.poll = oneloop_avahi_new(loop);
    o.api = oneloop_pulse_new(loop);
    clock_gettime(CLOCK_REALTIME, &now);
    time.tv_sec = now.tv_sec - 1;
    time.tv_usec = now.tv_nsec / 1000 + 1010000;
    CHECK(o.poll->timeout_new(o.poll, &time, avahi_fired, NULL));
    CHECK(o.api->time_new(o.api, &time, pulse_fired, NULL));
    clock_gettime(CLOCK_MONOTONIC, &now);
    time.tv_sec = now.tv_sec - 1;
    time.tv_usec = (now.tv_nsec / 1000 + 1010000) | ONELOOP_PULSE_MONOTONIC;
    CHECK(o.api->time_new(o.api, &time, pulse_fired, NULL));
    return failures;
}
