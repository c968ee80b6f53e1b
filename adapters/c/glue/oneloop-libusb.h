/* libusb 1.0 on a oneloop loop.
 *
 *   libusb_context *usb;
 *   libusb_init(&usb);
 *   struct oneloop_usb *on = oneloop_usb_attach(loop, usb);
 *   ... libusb_submit_transfer, hotplug callbacks, as ever; the loop does the rest ...
 *   oneloop_usb_detach(on);
 *   libusb_exit(usb);
 *
 * Callbacks of libusb are called in the loop's turns. A callback must not detach.
 *
 * Errors: transfers have theirs. If libusb cannot handle events at all, that is reported by oneloop_report_error.
 *
 * Threads: all of it on the thread that drives the loop. Transfers may be submitted on any thread: libusb
 * shows that on a descriptor.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_LIBUSB_H
#define ONELOOP_LIBUSB_H

#include <libusb.h>
#include <oneloop.h>
#include <stdlib.h>
#include <sys/time.h>

struct oneloop_usb {
    oneloop_t *loop;
    libusb_context *usb; /* NULL once it is detached */
    oneloop_id id;
    int gone; /* with the loop, or after it was detached */
};

static inline int oneloop_usb_list(oneloop_t *loop, struct pollfd *fds, int room, int64_t *timeout,
                                   void *user) {
    struct oneloop_usb *on = (struct oneloop_usb *)user;
    const struct libusb_pollfd **list;
    struct timeval next;
    int count = 0;
    (void)loop;
    if (!on->usb)
        return 0;
    list = libusb_get_pollfds(on->usb);
    for (; list && list[count]; count++) {
        if (count < room) {
            fds[count].fd = list[count]->fd;
            fds[count].events = list[count]->events;
        }
    }
    libusb_free_pollfds(list);
    if (libusb_get_next_timeout(on->usb, &next) > 0)
        *timeout = next.tv_sec * INT64_C(1000000000) + next.tv_usec * INT64_C(1000);
    return count;
}

static inline void oneloop_usb_ready(oneloop_t *loop, struct pollfd *fds, int count, void *user) {
    struct oneloop_usb *on = (struct oneloop_usb *)user;
    struct timeval now = {0, 0};
    int result = 0;
    (void)fds, (void)count;
    if (on->usb)
        result = libusb_handle_events_timeout_completed(on->usb, &now, NULL);
    if (result < 0 && result != LIBUSB_ERROR_INTERRUPTED)
        oneloop_report_error(loop, "libusb", libusb_error_name(result));
}

static inline void oneloop_usb_gone(void *user) {
    struct oneloop_usb *on = (struct oneloop_usb *)user;
    on->gone = 1;
    if (!on->usb)
        free(on);
}

/* Takes libusb off the loop, before libusb_exit(). To be called once, before the loop ends or after. */
static inline void oneloop_usb_detach(struct oneloop_usb *on) {
    on->usb = NULL;
    if (on->gone)
        free(on);
    else /* which frees it, in a later turn */
        oneloop_remove_pollset(on->loop, on->id);
}

/* Puts libusb on a loop. Returns NULL if there is no memory left, or the loop is closed. */
static inline struct oneloop_usb *oneloop_usb_attach(oneloop_t *loop, libusb_context *usb) {
    struct oneloop_usb *on = (struct oneloop_usb *)calloc(1, sizeof *on);
    if (!on)
        return NULL;
    on->loop = loop;
    on->usb = usb;
    if (oneloop_add_pollset(loop, oneloop_usb_list, oneloop_usb_ready, on, oneloop_usb_gone,
                            &on->id) < 0) {
        free(on);
        return NULL;
    }
    return on;
}

#endif
