#include "c_timers.h"

#include <ev.h>
#include <stdlib.h>

struct loop {
    struct ev_loop *ev;
    size_t number;
    size_t fired;
    ev_timer timers[];
};

static void on_due(struct ev_loop *ev, ev_timer *timer, int revents) {
    struct loop *loop = ev_userdata(ev);
    (void)timer, (void)revents;
    loop->fired++;
}

static void *make(size_t number) {
    struct loop *loop = calloc(1, sizeof *loop + number * sizeof *loop->timers);
    if (!loop)
        return NULL;
    loop->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (!loop->ev) {
        free(loop);
        return NULL;
    }
    ev_set_userdata(loop->ev, loop);
    loop->number = number;
    for (size_t which = 0; which < number; which++)
        ev_init(&loop->timers[which], on_due);
    return loop;
}

/* Sets a timer, pending or not, as its documentation says. */
static int put_off(void *of, size_t which, uint64_t deadline) {
    struct loop *loop = of;
    ev_timer *timer = &loop->timers[which];
    /* 0 would be no timeout at all. */
    timer->repeat = deadline ? (double)deadline * 1e-9 : 1e-9;
    ev_timer_again(loop->ev, timer);
    return 0;
}

static int set(void *of, size_t which, uint64_t deadline) {
    struct loop *loop = of;
    ev_timer *timer = &loop->timers[which];
    ev_timer_set(timer, (double)deadline * 1e-9, 0);
    ev_timer_start(loop->ev, timer);
    return 0;
}

static int cancel(void *of, size_t which) {
    struct loop *loop = of;
    ev_timer_stop(loop->ev, &loop->timers[which]);
    return 0;
}

static int fire(void *of, size_t number) {
    struct loop *loop = of;
    while (loop->fired < number)
        ev_run(loop->ev, EVRUN_ONCE);
    return 0;
}

static void end(void *of) {
    struct loop *loop = of;
    for (size_t which = 0; which < loop->number; which++)
        ev_timer_stop(loop->ev, &loop->timers[which]);
    ev_loop_destroy(loop->ev);
    free(loop);
}

const struct c_timers c_timers_libev = {make, set, put_off, cancel, fire, end};
