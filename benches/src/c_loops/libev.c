#include "c_loops.h"

#include <ev.h>
#include <stdlib.h>

struct watcher {
    ev_io io;
    c_loops_ready *ready;
    void *work;
    size_t which;
    int interest;
};

static int to_libev(int interest) {
    return (interest & C_LOOPS_READ ? EV_READ : 0) | (interest & C_LOOPS_WRITE ? EV_WRITE : 0);
}

static void on_ready(struct ev_loop *loop, ev_io *io, int revents) {
    struct watcher *watcher = (struct watcher *)io;
    (void)revents;
    int next = watcher->ready(watcher->work, watcher->which);
    int interest = next & (C_LOOPS_READ | C_LOOPS_WRITE);
    if (interest != watcher->interest) {
        watcher->interest = interest;
        ev_io_stop(loop, io);
        ev_io_set(io, io->fd, to_libev(interest));
        if (interest)
            ev_io_start(loop, io);
    }
    if (next & C_LOOPS_STOP)
        ev_break(loop, EVBREAK_ALL);
}

int c_loops_libev(const int *fds, size_t number, c_loops_ready *ready, void *work) {
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    struct watcher *watchers = calloc(number, sizeof *watchers);
    int failed = !loop || !watchers;
    for (size_t i = 0; !failed && i < number; i++) {
        struct watcher *watcher = &watchers[i];
        watcher->ready = ready;
        watcher->work = work;
        watcher->which = i;
        watcher->interest = C_LOOPS_READ;
        ev_io_init(&watcher->io, on_ready, fds[i], EV_READ);
        ev_io_start(loop, &watcher->io);
    }
    if (!failed) {
        ev_run(loop, 0);
        for (size_t i = 0; i < number; i++)
            ev_io_stop(loop, &watchers[i].io);
    }
    if (loop)
        ev_loop_destroy(loop);
    free(watchers);
    return failed;
}
