#include "c_loops.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>

struct watcher {
    struct event event;
    struct event_base *base;
    c_loops_ready *ready;
    void *work;
    size_t which;
    int interest;
};

static void on_ready(evutil_socket_t fd, short events, void *of);

static int watch(struct watcher *watcher, evutil_socket_t fd, int interest) {
    short events = EV_PERSIST;
    if (interest & C_LOOPS_READ)
        events |= EV_READ;
    if (interest & C_LOOPS_WRITE)
        events |= EV_WRITE;
    watcher->interest = interest;
    return event_assign(&watcher->event, watcher->base, fd, events, on_ready, watcher) ||
           event_add(&watcher->event, NULL);
}

static void on_ready(evutil_socket_t fd, short events, void *of) {
    struct watcher *watcher = of;
    (void)events;
    int next = watcher->ready(watcher->work, watcher->which);
    int interest = next & (C_LOOPS_READ | C_LOOPS_WRITE);
    if (interest != watcher->interest) {
        event_del(&watcher->event);
        watcher->interest = 0;
        if (interest && watch(watcher, fd, interest))
            abort();
    }
    if (next & C_LOOPS_STOP)
        event_base_loopbreak(watcher->base);
}

/* The settings that its documentation names for speed: changes in one go, and no locks. */
static struct event_base *make_base(void) {
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;
    if (config && !event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST) &&
        !event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK))
        base = event_base_new_with_config(config);
    if (config)
        event_config_free(config);
    return base;
}

int c_loops_libevent(const int *fds, size_t number, c_loops_ready *ready, void *work) {
    /* libev has functions of the same names. */
    if (strncmp(event_get_version(), "2.", 2))
        return 1;
    struct event_base *base = make_base();
    struct watcher *watchers = calloc(number, sizeof *watchers);
    int failed = !base || !watchers;
    size_t watched = 0;
    for (; !failed && watched < number; watched++) {
        struct watcher *watcher = &watchers[watched];
        watcher->base = base;
        watcher->ready = ready;
        watcher->work = work;
        watcher->which = watched;
        failed = watch(watcher, fds[watched], C_LOOPS_READ);
    }
    if (!failed)
        failed = event_base_dispatch(base) == -1;
    for (size_t i = 0; i < watched; i++)
        event_del(&watchers[i].event);
    if (base)
        event_base_free(base);
    free(watchers);
    return failed;
}
