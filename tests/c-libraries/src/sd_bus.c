/* sd-bus against a private dbus-daemon: a connection that calls itself. */

#define _GNU_SOURCE
#include "oneloop-sd-bus.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

#define PATH "/test"
#define FACE "test.oneloop"
#define CALLS 12
#define LARGE (2 * 1024 * 1024)
#define SIGNALS 30
#define TIMEOUT 30000 /* microseconds */

static _Thread_local struct {
    const char *address;
    int daemon;
    oneloop_t *loop;
    pthread_t thread;
    sd_bus *bus;
    struct oneloop_sd_bus *on;
    char *large;
    int64_t start;
    int replies, signals, timeouts, lost, done;
} t;

void sd_bus_test_daemon(const char *address, int pid) {
    memset(&t, 0, sizeof t);
    t.address = address;
    t.daemon = pid;
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void here(void) { check_thread(t.thread); }

static void finish(void) {
    oneloop_sd_bus_detach(t.on);
    sd_bus_close(t.bus);
    sd_bus_unref(t.bus);
    free(t.large);
    oneloop_stop(t.loop);
}

static void part_done(void) {
    if (t.replies == CALLS && t.signals == SIGNALS && t.timeouts == 1 && !t.done++)
        finish();
}

static int echo(sd_bus_message *call, void *user, sd_bus_error *error) {
    const void *bytes;
    size_t size;
    sd_bus_message *reply = NULL;
    (void)user, (void)error;
    here();
    CHECK(sd_bus_message_read_array(call, 'y', &bytes, &size) >= 0);
    CHECK(sd_bus_message_new_method_return(call, &reply) >= 0);
    CHECK(sd_bus_message_append_array(reply, 'y', bytes, size) >= 0);
    CHECK(sd_bus_send(NULL, reply, NULL) >= 0);
    sd_bus_message_unref(reply);
    return 1;
}

/* Takes the call, and never answers. */
static int silent(sd_bus_message *call, void *user, sd_bus_error *error) {
    (void)call, (void)user, (void)error;
    here();
    return 1;
}

static const sd_bus_vtable methods[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD("Echo", "ay", "ay", echo, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD("Silent", "", "", silent, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END,
};

static int replied(sd_bus_message *reply, void *user, sd_bus_error *error) {
    const void *bytes;
    size_t size = 0;
    (void)user, (void)error;
    here();
    CHECK(!sd_bus_message_is_method_error(reply, NULL));
    CHECK(sd_bus_message_read_array(reply, 'y', &bytes, &size) >= 0);
    CHECK(size == LARGE && memcmp(bytes, t.large, LARGE) == 0);
    t.replies++;
    part_done();
    return 1;
}

static int timed_out(sd_bus_message *reply, void *user, sd_bus_error *error) {
    (void)user, (void)error;
    here();
    CHECK(sd_bus_message_is_method_error(reply, SD_BUS_ERROR_NO_REPLY) ||
          sd_bus_message_is_method_error(reply, SD_BUS_ERROR_TIMEOUT));
    CHECK(now() - t.start >= TIMEOUT * 1000LL);
    t.timeouts++;
    part_done();
    return 1;
}

static int signalled(sd_bus_message *signal, void *user, sd_bus_error *error) {
    int number = -1;
    (void)user, (void)error;
    here();
    CHECK(sd_bus_message_read(signal, "i", &number) >= 0);
    CHECK(number == t.signals);
    t.signals++;
    part_done();
    return 1;
}

static void nothing_lost(struct oneloop_sd_bus *on, int error) {
    (void)on;
    CHECK(error == 0);
}

static void begin(oneloop_t *loop, void (*lost)(struct oneloop_sd_bus *, int)) {
    t.loop = loop;
    t.thread = pthread_self();
    t.start = now();
    CHECK(sd_bus_new(&t.bus) >= 0);
    CHECK(sd_bus_set_address(t.bus, t.address) >= 0);
    CHECK(sd_bus_set_bus_client(t.bus, 1) >= 0);
    CHECK(sd_bus_start(t.bus) >= 0);
    t.on = oneloop_sd_bus_attach(loop, t.bus, lost, NULL);
    CHECK(t.on && t.on->users == 3);
}

int test_sd_bus_calls_and_signals(oneloop_t *loop) {
    const char *name;
    sd_bus_message *call = NULL, *reply = NULL;
    begin(loop, nothing_lost);
    t.large = malloc(LARGE);
    for (size_t n = 0; n < LARGE; n++)
        t.large[n] = (char)(n * 7 ^ n >> 8);
    CHECK(sd_bus_get_unique_name(t.bus, &name) >= 0);
    CHECK(sd_bus_add_object_vtable(t.bus, NULL, PATH, FACE, methods, NULL) >= 0);
    CHECK(sd_bus_match_signal(t.bus, NULL, NULL, PATH, FACE, "Tick", signalled, NULL) >= 0);
    for (int n = 0; n < CALLS; n++) {
        CHECK(sd_bus_message_new_method_call(t.bus, &call, name, PATH, FACE, "Echo") >= 0);
        CHECK(sd_bus_message_append_array(call, 'y', t.large, LARGE) >= 0);
        CHECK(sd_bus_call_async(t.bus, NULL, call, replied, NULL, 0) >= 0);
        sd_bus_message_unref(call);
    }
    CHECK(sd_bus_message_new_method_call(t.bus, &call, name, PATH, FACE, "Silent") >= 0);
    CHECK(sd_bus_call_async(t.bus, NULL, call, timed_out, NULL, TIMEOUT) >= 0);
    sd_bus_message_unref(call);
    for (int n = 0; n < SIGNALS; n++)
        CHECK(sd_bus_emit_signal(t.bus, PATH, FACE, "Tick", "i", n) >= 0);
    /* Waits for an answer, and reads whatever comes before that: no descriptor shows it again. */
    CHECK(sd_bus_call_method(t.bus, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                             "org.freedesktop.DBus", "GetId", NULL, &reply, "") >= 0);
    sd_bus_message_unref(reply);
    return check_failures();
}

/* All that comes was read before the loop turns for the first time. */
int test_sd_bus_read_on_the_way(oneloop_t *loop) {
    sd_bus_message *reply = NULL;
    begin(loop, nothing_lost);
    t.replies = CALLS;
    t.timeouts = 1;
    CHECK(sd_bus_match_signal(t.bus, NULL, NULL, PATH, FACE, "Tick", signalled, NULL) >= 0);
    for (int n = 0; n < SIGNALS; n++)
        CHECK(sd_bus_emit_signal(t.bus, PATH, FACE, "Tick", "i", n) >= 0);
    CHECK(sd_bus_call_method(t.bus, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                             "org.freedesktop.DBus", "GetId", NULL, &reply, "") >= 0);
    sd_bus_message_unref(reply);
    CHECK(t.signals == 0);
    return check_failures();
}

static void lost(struct oneloop_sd_bus *on, int error) {
    here();
    CHECK(on == t.on && error < 0);
    CHECK(t.lost++ == 0);
    finish();
}

int test_sd_bus_the_daemon_dies(oneloop_t *loop) {
    begin(loop, lost);
    CHECK(sd_bus_flush(t.bus) >= 0);
    CHECK(kill(t.daemon, SIGKILL) == 0);
    return check_failures();
}

/* The host's own code. */

static void ask_the_daemon(void) {
    sd_bus_message *reply = NULL;
    CHECK(sd_bus_call_method(t.bus, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                             "org.freedesktop.DBus", "GetId", NULL, &reply, "") >= 0);
    sd_bus_message_unref(reply);
}

static int signalled_once(sd_bus_message *signal, void *user, sd_bus_error *error) {
    (void)signal, (void)user, (void)error;
    here();
    finish();
    return 1;
}

int test_sd_bus_beside(oneloop_t *loop) {
    begin(loop, nothing_lost);
    CHECK(sd_bus_match_signal(t.bus, NULL, NULL, PATH, FACE, "Tick", signalled_once, NULL) >= 0);
    ask_the_daemon(); /* and all that comes at the beginning is read */
    return check_failures();
}

/* The signal is read on the way to the answer. */
void sd_bus_beside_waits(oneloop_t *loop) {
    (void)loop;
    CHECK(sd_bus_emit_signal(t.bus, PATH, FACE, "Tick", "i", 0) >= 0);
    ask_the_daemon();
}

/* More than there is room for. */
void sd_bus_beside_sends(oneloop_t *loop) {
    static const char bytes[64 * 1024];
    sd_bus_message *noise = NULL;
    (void)loop;
    while (!(sd_bus_get_events(t.bus) & POLLOUT)) {
        CHECK(sd_bus_message_new_signal(t.bus, &noise, PATH, FACE, "Noise") >= 0);
        CHECK(sd_bus_message_append_array(noise, 'y', bytes, sizeof bytes) >= 0);
        CHECK(sd_bus_send(t.bus, noise, NULL) >= 0);
        sd_bus_message_unref(noise);
    }
    CHECK(sd_bus_emit_signal(t.bus, PATH, FACE, "Tick", "i", 0) >= 0);
}

static int timed_out_once(sd_bus_message *reply, void *other, sd_bus_error *error) {
    (void)error;
    here();
    CHECK(sd_bus_message_is_method_error(reply, SD_BUS_ERROR_NO_REPLY) ||
          sd_bus_message_is_method_error(reply, SD_BUS_ERROR_TIMEOUT));
    sd_bus_close(other);
    sd_bus_unref(other);
    finish();
    return 1;
}

/* Another connection, which takes the call and does not answer. */
void sd_bus_beside_calls(oneloop_t *loop) {
    sd_bus *other = NULL;
    sd_bus_message *call = NULL;
    const char *name;
    (void)loop;
    CHECK(sd_bus_new(&other) >= 0);
    CHECK(sd_bus_set_address(other, t.address) >= 0);
    CHECK(sd_bus_set_bus_client(other, 1) >= 0);
    CHECK(sd_bus_start(other) >= 0);
    CHECK(sd_bus_get_unique_name(other, &name) >= 0);
    CHECK(sd_bus_message_new_method_call(t.bus, &call, name, PATH, FACE, "Silent") >= 0);
    CHECK(sd_bus_call_async(t.bus, NULL, call, timed_out_once, other, TIMEOUT) >= 0);
    sd_bus_message_unref(call);
}

void sd_bus_beside_wakes(oneloop_t *loop) {
    (void)loop;
    oneloop_sd_bus_wake(t.on);
}
