/* libwayland-client on a oneloop loop.
 *
 *   struct wl_display *display = wl_display_connect(NULL);
 *   struct oneloop_wayland *on = oneloop_wayland_attach(loop, display, lost, user);
 *   ... listeners and requests, as ever; the loop does the rest ...
 *   oneloop_wayland_detach(on);
 *   wl_display_disconnect(display);
 *
 * Listeners of the default queue are called in the loop's turns. They may use Wayland, and detach, but must not
 * disconnect. Requests are sent before the loop sleeps. Other threads may read events for queues of their own.
 *
 * Errors: `lost` is called once, when the connection is of no more use. wl_display_get_error() has the reason.
 *
 * Code outside of the loop's callbacks, such as a task of its host, calls oneloop_wayland_wake after it has
 * used the display.
 *
 * Threads: all of it on the thread that drives the loop.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_WAYLAND_H
#define ONELOOP_WAYLAND_H

#include <errno.h>
#include <oneloop.h>
#include <poll.h>
#include <stdlib.h>
#include <wayland-client-core.h>

struct oneloop_wayland {
    oneloop_t *loop;
    struct wl_display *display; /* NULL once it is detached */
    void (*lost)(struct oneloop_wayland *on);
    void *user;
    /* Private. */
    oneloop_id id;
    int is_lost;
    int gone; /* with the loop, or after it was detached */
};

static inline int oneloop_wayland_list(oneloop_t *loop, struct pollfd *fds, int room,
                                       int64_t *timeout, void *user) {
    struct oneloop_wayland *on = (struct oneloop_wayland *)user;
    (void)loop, (void)room;
    if (!on->display || on->is_lost)
        return 0;
    fds->fd = wl_display_get_fd(on->display);
    fds->events = POLLIN;
    if (wl_display_flush(on->display) < 0 && errno == EAGAIN)
        fds->events |= POLLOUT;
    /* Events that were read already show on no descriptor. The intention to read is not kept until the loop
     * wakes up, since other threads would wait for it. */
    if (wl_display_prepare_read(on->display) < 0)
        *timeout = 0;
    else
        wl_display_cancel_read(on->display);
    if (wl_display_get_error(on->display))
        *timeout = 0;
    return 1;
}

static inline void oneloop_wayland_ready(oneloop_t *loop, struct pollfd *fds, int count,
                                         void *user) {
    struct oneloop_wayland *on = (struct oneloop_wayland *)user;
    int result = 0;
    (void)loop;
    if (!on->display || on->is_lost)
        return;
    if (count > 0 && fds->revents & ~POLLOUT && wl_display_prepare_read(on->display) == 0)
        result = wl_display_read_events(on->display);
    if (result >= 0 && wl_display_get_error(on->display) == 0)
        wl_display_dispatch_pending(on->display);
    /* A listener may have detached it. */
    if (on->display && wl_display_get_error(on->display)) {
        on->is_lost = 1;
        if (on->lost)
            on->lost(on);
        else
            oneloop_report_error(on->loop, "libwayland", "the connection is lost");
    }
}

static inline void oneloop_wayland_gone(void *user) {
    struct oneloop_wayland *on = (struct oneloop_wayland *)user;
    on->gone = 1;
    if (!on->display)
        free(on);
}

/* Has the loop send requests, and dispatch events that were read on the way to a reply. To be called after code
 * outside of the loop's callbacks has used the display. Inside them it is not needed. */
static inline void oneloop_wayland_wake(struct oneloop_wayland *on) {
    if (!on->gone)
        oneloop_wake(on->loop);
}

/* Takes the display off the loop, before wl_display_disconnect(). To be called once, before the loop ends or
 * after. */
static inline void oneloop_wayland_detach(struct oneloop_wayland *on) {
    on->display = NULL;
    if (on->gone)
        free(on);
    else /* which frees it, in a later turn */
        oneloop_remove_pollset(on->loop, on->id);
}

/* Puts a display on a loop. Without `lost`, the loss of the connection is reported by oneloop_report_error. Returns
 * NULL if there is no memory left, or the loop is closed. */
static inline struct oneloop_wayland *
oneloop_wayland_attach(oneloop_t *loop, struct wl_display *display,
                       void (*lost)(struct oneloop_wayland *on), void *user) {
    struct oneloop_wayland *on;
    if (!display)
        return NULL;
    on = (struct oneloop_wayland *)calloc(1, sizeof *on);
    if (!on)
        return NULL;
    on->loop = loop;
    on->display = display;
    on->lost = lost;
    on->user = user;
    if (oneloop_add_pollset(loop, oneloop_wayland_list, oneloop_wayland_ready, on,
                            oneloop_wayland_gone, &on->id) < 0) {
        free(on);
        return NULL;
    }
    return on;
}

#endif
