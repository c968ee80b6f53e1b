/* The orders of destruction as a program, for AddressSanitizer: the tests of late.c and the late tests beside the
 * others, with those of the libraries whose other tests need servers. tests/all.sh compiles it with the rest. */

#include "oneloop-cares.h"
#include "oneloop-hiredis.h"
#include "oneloop-libpq.h"
#include "oneloop-libusb.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

_Thread_local int failures, stops;

/* Those of Rust's, which the late tests do not call. */
void microhttpd_test_clients(oneloop_t *loop, int port) { (void)loop, (void)port; }
void mosquitto_test_restart(void) {}

/* A port that accepts connections and says nothing. */
static int silent_port(int *listener) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    *listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(*listener, (struct sockaddr *)&address, length) == 0 && listen(*listener, 5) == 0);
    CHECK(getsockname(*listener, (struct sockaddr *)&address, &length) == 0);
    return ntohs(address.sin_port);
}

static int late_hiredis(int loop_last) {
    oneloop_t *loop = oneloop_new();
    int listener, port = silent_port(&listener);
    redisAsyncContext *redis = redisAsyncConnect("127.0.0.1", port);
    CHECK(redisOneloopAttach(redis, loop) == REDIS_OK);
    CHECK(redisAsyncCommand(redis, NULL, NULL, "PING") == REDIS_OK);
    CHECK(oneloop_turn(loop, 0, NULL) >= 0);
    if (!loop_last)
        oneloop_free(loop);
    redisAsyncFree(redis);
    if (loop_last)
        oneloop_free(loop);
    close(listener);
    return failures;
}

static void pg_connected(struct oneloop_pg *pg, int ok) { (void)pg, (void)ok; }

/* If the loop ends first, the glue closes the connection. */
static int late_pq(int loop_last) {
    oneloop_t *loop = oneloop_new();
    int listener, port = silent_port(&listener);
    char text[100];
    struct oneloop_pg *pg;
    snprintf(text, sizeof text, "hostaddr=127.0.0.1 port=%d", port);
    pg = oneloop_pg_connect(loop, text, ONELOOP_NEVER, pg_connected, NULL);
    CHECK(pg && oneloop_turn(loop, 0, NULL) >= 0);
    if (loop_last)
        oneloop_pg_close(pg);
    oneloop_free(loop);
    close(listener);
    return failures;
}

static void ares_found(void *user, int status, int timeouts, struct ares_addrinfo *result) {
    (void)status, (void)timeouts;
    ares_freeaddrinfo(result);
    ++*(int *)user;
}

/* If the loop ends first, so does the channel. */
static int late_ares(int loop_last) {
    oneloop_t *loop = oneloop_new();
    struct oneloop_ares *ares;
    struct ares_addrinfo_hints hints = {.ai_family = AF_INET};
    int found = 0;
    CHECK(oneloop_ares_init(&ares, loop, NULL, 0) == ARES_SUCCESS);
    ares_getaddrinfo(ares->channel, "name.invalid", NULL, &hints, ares_found, &found);
    CHECK(oneloop_turn(loop, 0, NULL) >= 0);
    if (loop_last)
        oneloop_ares_destroy(ares);
    oneloop_free(loop);
    CHECK(found == 1);
    return failures;
}

static int late_usb(int loop_last) {
    oneloop_t *loop = oneloop_new();
    libusb_context *usb;
    struct oneloop_usb *on;
    CHECK(libusb_init(&usb) == 0);
    on = oneloop_usb_attach(loop, usb);
    CHECK(on && oneloop_turn(loop, 0, NULL) >= 0);
    if (!loop_last)
        oneloop_free(loop);
    oneloop_usb_detach(on);
    libusb_exit(usb);
    if (loop_last)
        oneloop_free(loop);
    return failures;
}

typedef int late_test(int loop_last);

late_test late_alsa, late_mariadb, late_microhttpd, late_mosquitto, late_rdkafka, late_ssh2, late_wayland;
/* These have a third order, after a turn. */
late_test late_avahi, late_curl, late_dbus, late_pulse, late_sd_bus, late_xcb, late_zmq;

static const struct {
    const char *name;
    late_test *test;
    int orders;
} TESTS[] = {
    {"hiredis", late_hiredis, 2}, {"libpq", late_pq, 2},         {"c-ares", late_ares, 2},
    {"libusb", late_usb, 2},      {"ALSA", late_alsa, 2},        {"MariaDB", late_mariadb, 2},
    {"mosquitto", late_mosquitto, 2}, {"microhttpd", late_microhttpd, 2},
    {"rdkafka", late_rdkafka, 2}, {"libssh2", late_ssh2, 2},     {"Wayland", late_wayland, 2},
    {"Avahi", late_avahi, 3},     {"libcurl", late_curl, 3},     {"libdbus", late_dbus, 3},
    {"PulseAudio", late_pulse, 3}, {"sd-bus", late_sd_bus, 3},   {"xcb", late_xcb, 3},
    {"libzmq", late_zmq, 3},
};

int main(void) {
    for (size_t n = 0; n < sizeof TESTS / sizeof *TESTS; n++)
        for (int order = 0; order < TESTS[n].orders; order++)
            if (TESTS[n].test(order))
                fprintf(stderr, "%s failed in the order %d\n", TESTS[n].name, order);
    return failures != 0;
}
