/* libevent, as the tests drive it. */

#include <oneloop.h>

int guests_step(oneloop_t *loop, uint32_t budget);
#define oneloop_step guests_step

#include "oneloop-libevent.h"

void guests_ended(void *user, int error);

static void ended(struct oneloop_attached *on, int error) { guests_ended(on->user, error); }

void *guests_libevent_new(void) { return event_base_new(); }

void guests_libevent_free(void *base) { event_base_free(base); }

void guests_libevent_iterate(void *base, int may_block) {
    event_base_loop(base, may_block ? EVLOOP_ONCE : EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

void *guests_libevent_attach(void *base, oneloop_t *loop, uint32_t flags, void *user) {
    return oneloop_libevent_attach(base, loop, flags, ended, user);
}

void guests_libevent_detach(void *on) { oneloop_detach(on); }
