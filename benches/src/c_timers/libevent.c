#include "c_timers.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>

struct loop {
    struct event_base *base;
    size_t number;
    size_t fired;
    struct event timers[];
};

static void on_due(evutil_socket_t fd, short events, void *of) {
    struct loop *loop = of;
    (void)fd, (void)events;
    loop->fired++;
}

/* Without locks, as for other loops of one thread. */
static struct event_base *make_base(void) {
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;
    if (config && !event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK))
        base = event_base_new_with_config(config);
    if (config)
        event_config_free(config);
    return base;
}

static void *make(size_t number) {
    /* libev has functions of the same names. */
    if (strncmp(event_get_version(), "2.", 2))
        return NULL;
    struct loop *loop = calloc(1, sizeof *loop + number * sizeof *loop->timers);
    if (!loop)
        return NULL;
    loop->base = make_base();
    loop->number = number;
    int failed = !loop->base;
    for (size_t which = 0; !failed && which < number; which++)
        failed = evtimer_assign(&loop->timers[which], loop->base, on_due, loop);
    if (!failed)
        return loop;
    if (loop->base)
        event_base_free(loop->base);
    free(loop);
    return NULL;
}

/* Also resets a pending timer, as its documentation says. */
static int set(void *of, size_t which, uint64_t deadline) {
    struct loop *loop = of;
    struct timeval after = {deadline / 1000000000, deadline % 1000000000 / 1000};
    return evtimer_add(&loop->timers[which], &after);
}

static int cancel(void *of, size_t which) {
    struct loop *loop = of;
    return evtimer_del(&loop->timers[which]);
}

static int fire(void *of, size_t number) {
    struct loop *loop = of;
    while (loop->fired < number)
        if (event_base_loop(loop->base, EVLOOP_ONCE))
            return 1;
    return 0;
}

static void end(void *of) {
    struct loop *loop = of;
    for (size_t which = 0; which < loop->number; which++)
        evtimer_del(&loop->timers[which]);
    event_base_free(loop->base);
    free(loop);
}

const struct c_timers c_timers_libevent = {make, set, set, cancel, fire, end};
