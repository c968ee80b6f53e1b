#include "c_memory.h"
#include "counted.h"

#include <event2/event.h>
#include <event2/event_struct.h>

static void *take(size_t size) {
    return counted_resize(NULL, size);
}

static void give_back(void *block) {
    counted_resize(block, 0);
}

static void on_event(evutil_socket_t fd, short events, void *work) {
    (void)fd, (void)events, (void)work;
}

size_t c_memory_libevent(const int *fds, size_t handlers, size_t timers) {
    static int is_counted;
    /* libev has functions of the same names. */
    if (strncmp(event_get_version(), "2.", 2))
        return 0;
    if (!is_counted++)
        event_set_mem_functions(take, counted_resize, give_back);
    struct event_base *base = event_base_new();
    struct event *event = calloc(handlers + timers + 1, sizeof *event);
    size_t bytes = 0, made = 0;
    int failed = !base || !event;
    for (; !failed && made < handlers + timers; made++) {
        struct timeval later = {C_MEMORY_LATER + made % C_MEMORY_LATER, 0};
        failed = made < handlers
                     ? event_assign(&event[made], base, fds[made], EV_READ | EV_PERSIST, on_event,
                                    NULL) ||
                           event_add(&event[made], NULL)
                     : evtimer_assign(&event[made], base, on_event, NULL) ||
                           evtimer_add(&event[made], &later);
    }
    if (!failed)
        bytes = counted_bytes + made * sizeof *event;
    for (size_t i = 0; i < made; i++)
        event_del(&event[i]);
    if (base)
        event_base_free(base);
    free(event);
    return bytes;
}
