/* libwayland-client, with a compositor of libwayland-server on the same loop, or on a thread for a program. */

#define _GNU_SOURCE
#include "oneloop-wayland.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wayland-client.h>
#include <wayland-server.h>

#include "check.h"

#define ROUNDS 50
#define OUTPUTS 300

static _Thread_local struct {
    oneloop_t *loop;
    pthread_t thread;
    /* The server. */
    struct wl_display *compositor;
    struct wl_client *client;
    oneloop_id served, flushed;
    /* The client. */
    struct wl_display *display;
    struct wl_registry *registry;
    struct oneloop_wayland *on;
    int rounds, seen, bound, lost;
} t;

/* The server, in handlers of the loop. */

static int serve(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user) {
    (void)loop, (void)id, (void)fd, (void)ready, (void)user;
    wl_event_loop_dispatch(wl_display_get_event_loop(t.compositor), 0);
    return ONELOOP_CONTINUE;
}

static int64_t flush(oneloop_t *loop, void *user) {
    (void)loop, (void)user;
    wl_display_flush_clients(t.compositor);
    return ONELOOP_NEVER;
}

static void bind_output(struct wl_client *client, void *user, uint32_t version, uint32_t id) {
    (void)user;
    wl_resource_create(client, &wl_output_interface, (int)version, id);
    t.bound++;
}

static void start_compositor(void) {
    int fd;
    t.compositor = wl_display_create();
    for (int i = 0; i < OUTPUTS; i++)
        wl_global_create(t.compositor, &wl_output_interface, 2, NULL, bind_output);
    fd = wl_event_loop_get_fd(wl_display_get_event_loop(t.compositor));
    CHECK(oneloop_add_handler(t.loop, fd, ONELOOP_READABLE, ONELOOP_LEVEL, serve, NULL, NULL,
                              &t.served) == 0);
    CHECK(oneloop_add_hook(t.loop, flush, NULL, NULL, NULL, &t.flushed) == 0);
}

/* The client. */

static void end(oneloop_t *loop, void *user) {
    (void)user;
    wl_registry_destroy(t.registry);
    wl_display_disconnect(t.display);
    oneloop_remove_handler(loop, t.served);
    oneloop_remove_hook(loop, t.flushed);
    wl_display_destroy(t.compositor);
    oneloop_stop(loop);
}

static void lost(struct oneloop_wayland *on) {
    check_thread(t.thread);
    CHECK(on == t.on && on->user == &t && wl_display_get_error(on->display) != 0);
    CHECK(t.seen == OUTPUTS && t.bound == OUTPUTS && t.rounds == ROUNDS && ++t.lost == 1);
    oneloop_wayland_detach(on);
    CHECK(oneloop_call_soon(t.loop, ONELOOP_NORMAL, end, NULL, NULL, NULL) == 0);
}

static void global(void *user, struct wl_registry *registry, uint32_t name, const char *interface,
                   uint32_t version) {
    (void)user, (void)version;
    check_thread(t.thread);
    CHECK(strcmp(interface, "wl_output") == 0);
    t.seen++;
    wl_output_destroy(wl_registry_bind(registry, name, &wl_output_interface, 2));
}

static void global_gone(void *user, struct wl_registry *registry, uint32_t name) {
    (void)user, (void)registry, (void)name;
}

static const struct wl_registry_listener on_global = {global, global_gone};

static void sync_again(void);

static void synced(void *user, struct wl_callback *callback, uint32_t serial) {
    (void)user, (void)serial;
    check_thread(t.thread);
    wl_callback_destroy(callback);
    if (t.rounds == 0) {
        t.registry = wl_display_get_registry(t.display);
        wl_registry_add_listener(t.registry, &on_global, NULL);
    }
    if (++t.rounds < ROUNDS)
        sync_again();
    else
        wl_client_destroy(t.client);
}

static const struct wl_callback_listener on_sync = {synced};

static void sync_again(void) {
    wl_callback_add_listener(wl_display_sync(t.display), &on_sync, NULL);
}

int test_wayland(oneloop_t *loop) {
    int ends[2];
    memset(&t, 0, sizeof t);
    t.loop = loop;
    t.thread = pthread_self();
    start_compositor();
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    t.client = wl_client_create(t.compositor, ends[0]);
    t.display = wl_display_connect_to_fd(ends[1]);
    sync_again();
    /* The answer is read already when the loop comes to know of it. */
    CHECK(wl_display_prepare_read(t.display) == 0 && wl_display_flush(t.display) > 0);
    CHECK(wl_event_loop_dispatch(wl_display_get_event_loop(t.compositor), 0) == 0);
    wl_display_flush_clients(t.compositor);
    CHECK(wl_display_read_events(t.display) == 0);
    t.on = oneloop_wayland_attach(loop, t.display, lost, &t);
    CHECK(t.on && !oneloop_wayland_attach(loop, NULL, lost, NULL));
    return failures;
}

/* For a program: a compositor that runs until its first client is gone. */

static void client_gone(struct wl_listener *listener, void *client) {
    (void)listener;
    wl_display_terminate(wl_client_get_display(client));
}

static struct wl_listener on_client_gone = {.notify = client_gone};

static void client_came(struct wl_listener *listener, void *client) {
    (void)listener;
    wl_client_add_destroy_listener(client, &on_client_gone);
}

static struct wl_listener on_client = {.notify = client_came};

static void bind_nothing(struct wl_client *client, void *user, uint32_t version, uint32_t id) {
    (void)client, (void)user, (void)version, (void)id;
}

/* Listens on `path`. */
struct wl_display *wayland_test_compositor(const char *path) {
    struct wl_display *compositor = wl_display_create();
    CHECK(wl_display_add_socket(compositor, path) == 0);
    wl_global_create(compositor, &wl_output_interface, 2, NULL, bind_nothing);
    wl_display_add_client_created_listener(compositor, &on_client);
    return compositor;
}

void wayland_test_serve(struct wl_display *compositor) {
    wl_display_run(compositor);
    wl_display_destroy(compositor);
}

int late_wayland(int loop_last) {
    oneloop_t *loop = oneloop_new();
    struct wl_display *display;
    struct oneloop_wayland *on;
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    display = wl_display_connect_to_fd(ends[1]);
    on = oneloop_wayland_attach(loop, display, NULL, NULL);
    CHECK(on && oneloop_turn(loop, 0, NULL) >= 0);
    if (!loop_last)
        oneloop_free(loop);
    oneloop_wayland_wake(on);
    oneloop_wayland_detach(on);
    wl_display_disconnect(display);
    close(ends[0]);
    if (loop_last)
        oneloop_free(loop);
    return failures;
}
