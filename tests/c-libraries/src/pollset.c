/* Libraries with a set of descriptors, as poll sets: libusb, and a main context of GLib's. */

#include "oneloop-libusb.h"

#include <glib-unix.h>
#include <pthread.h>
#include <unistd.h>
#include <string.h>

#include "check.h"

static _Thread_local struct {
    oneloop_t *loop;
    oneloop_id id;
    libusb_context *usb;
    GMainContext *context;
    int fired, read, wrote;
    int ends[2];
    pthread_t thread;
} t;

/* libusb: a hotplug callback for the devices that are there, and descriptors that another thread makes ready. */

static int LIBUSB_CALL plugged(libusb_context *usb, libusb_device *device,
                               libusb_hotplug_event event, void *user) {
    (void)usb, (void)device, (void)event, (void)user;
    return 0;
}

static void *interrupts(void *usb) {
    for (int n = 0; n < 1000; n++)
        libusb_interrupt_event_handler(usb);
    return NULL;
}

/* Before libusb's own turn, which empties that descriptor. */
static int usb_woken(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user) {
    (void)loop, (void)id, (void)fd, (void)ready, (void)user;
    t.fired++;
    return ONELOOP_CONTINUE;
}

static void usb_over(oneloop_t *loop, oneloop_id id, void *user) {
    /* Those that come together are one. */
    if (t.fired < 10) {
        libusb_interrupt_event_handler(t.usb);
        return;
    }
    oneloop_cancel_timer(loop, id);
    oneloop_remove_handler(loop, t.id);
    pthread_join(t.thread, NULL);
    oneloop_usb_detach(user);
    libusb_exit(t.usb);
    oneloop_stop(loop);
}

int test_libusb(oneloop_t *loop) {
    const struct libusb_pollfd **list;
    struct oneloop_usb *on;
    memset(&t, 0, sizeof t);
    CHECK(libusb_init(&t.usb) == 0);
    CHECK(on = oneloop_usb_attach(loop, t.usb));
    libusb_hotplug_register_callback(t.usb, LIBUSB_HOTPLUG_EVENT_DEVICE_ARRIVED,
                                     LIBUSB_HOTPLUG_ENUMERATE, LIBUSB_HOTPLUG_MATCH_ANY,
                                     LIBUSB_HOTPLUG_MATCH_ANY, LIBUSB_HOTPLUG_MATCH_ANY, plugged, NULL,
                                     NULL);
    /* The first is that by which libusb wakes. */
    list = libusb_get_pollfds(t.usb);
    CHECK(list && list[0]);
    CHECK(oneloop_add_handler(loop, list[0]->fd, ONELOOP_READABLE, ONELOOP_LEVEL, usb_woken, NULL,
                              NULL, &t.id) == 0);
    CHECK(oneloop_set_priority(loop, t.id, ONELOOP_HIGH) == 0);
    libusb_free_pollfds(list);
    CHECK(oneloop_add_timer(loop, 0, 1000000, usb_over, on, NULL, NULL) == 0);
    CHECK(pthread_create(&t.thread, NULL, interrupts, t.usb) == 0);
    return failures;
}

/* GLib: timers, an idle source and a pipe in a context of its own. */

static int glib_list(oneloop_t *loop, struct pollfd *fds, int room, int64_t *timeout, void *user) {
    int priority, milliseconds, count;
    (void)loop, (void)user;
    g_main_context_prepare(t.context, &priority);
    count = g_main_context_query(t.context, priority, &milliseconds, (GPollFD *)fds, room);
    if (milliseconds >= 0)
        *timeout = milliseconds * INT64_C(1000000);
    return count;
}

static void glib_ready(oneloop_t *loop, struct pollfd *fds, int count, void *user) {
    int priority;
    (void)loop, (void)user;
    g_main_context_prepare(t.context, &priority);
    g_main_context_check(t.context, priority, (GPollFD *)fds, count);
    g_main_context_dispatch(t.context);
}

static void glib_gone(void *user) {
    (void)user;
    g_main_context_release(t.context);
    g_main_context_unref(t.context);
}

static void over(void) {
    if (t.fired < 20 || t.read < 100)
        return;
    close(t.ends[0]), close(t.ends[1]);
    oneloop_remove_pollset(t.loop, t.id);
    oneloop_stop(t.loop);
}

static gboolean tick(void *user) {
    (void)user;
    if (++t.fired == 20) {
        over();
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

static gboolean readable(int fd, GIOCondition condition, void *user) {
    char byte;
    (void)user;
    CHECK(condition == G_IO_IN && read(fd, &byte, 1) == 1);
    if (++t.read == 100) {
        over();
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

static gboolean idle(void *user) {
    (void)user;
    CHECK(write(t.ends[1], "x", 1) == 1);
    return ++t.wrote < 100 ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static void attach(GSource *source, GSourceFunc callback) {
    g_source_set_callback(source, callback, NULL, NULL);
    g_source_attach(source, t.context);
    g_source_unref(source);
}

int test_glib(oneloop_t *loop) {
    memset(&t, 0, sizeof t);
    t.loop = loop;
    t.context = g_main_context_new();
    CHECK(pipe(t.ends) == 0);
    CHECK(g_main_context_acquire(t.context));
    CHECK(oneloop_add_pollset(loop, glib_list, glib_ready, NULL, glib_gone, &t.id) == 0);
    attach(g_timeout_source_new(1), tick);
    attach(g_unix_fd_source_new(t.ends[0], G_IO_IN), (GSourceFunc)(void (*)(void))readable);
    attach(g_idle_source_new(), idle);
    return failures;
}
