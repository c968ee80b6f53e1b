#include "c_memory.h"
#include "counted.h"

#include <ev.h>

static void *resize(void *block, long size) {
    return counted_resize(block, size);
}

static void on_ready(struct ev_loop *loop, ev_io *io, int revents) {
    (void)loop, (void)io, (void)revents;
}

static void on_due(struct ev_loop *loop, ev_timer *timer, int revents) {
    (void)loop, (void)timer, (void)revents;
}

size_t c_memory_libev(const int *fds, size_t handlers, size_t timers) {
    ev_set_allocator(resize);
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    ev_io *io = calloc(handlers + 1, sizeof *io);
    ev_timer *timer = calloc(timers + 1, sizeof *timer);
    size_t bytes = 0;
    if (loop && io && timer) {
        for (size_t i = 0; i < handlers; i++) {
            ev_io_init(&io[i], on_ready, fds[i], EV_READ);
            ev_io_start(loop, &io[i]);
        }
        for (size_t i = 0; i < timers; i++) {
            ev_timer_init(&timer[i], on_due, C_MEMORY_LATER + i % C_MEMORY_LATER, 0);
            ev_timer_start(loop, &timer[i]);
        }
        /* Has the kernel told. */
        ev_run(loop, EVRUN_NOWAIT);
        bytes = counted_bytes + handlers * sizeof *io + timers * sizeof *timer;
        for (size_t i = 0; i < handlers; i++)
            ev_io_stop(loop, &io[i]);
        for (size_t i = 0; i < timers; i++)
            ev_timer_stop(loop, &timer[i]);
    }
    if (loop)
        ev_loop_destroy(loop);
    free(io);
    free(timer);
    return bytes;
}
