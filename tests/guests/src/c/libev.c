/* libev, as the tests drive it. */

#include <oneloop.h>

int guests_step(oneloop_t *loop, uint32_t budget);
#define oneloop_step guests_step

#include "oneloop-libev.h"

void guests_ended(void *user, int error);

static void ended(struct oneloop_attached *on, int error) { guests_ended(on->user, error); }

void *guests_libev_new(void) { return ev_loop_new(EVFLAG_AUTO); }

void guests_libev_free(void *outer) { ev_loop_destroy(outer); }

void guests_libev_iterate(void *outer, int may_block) {
    ev_run(outer, may_block ? EVRUN_ONCE : EVRUN_NOWAIT);
}

void *guests_libev_attach(void *outer, oneloop_t *loop, uint32_t flags, void *user) {
    return oneloop_libev_attach(outer, loop, flags, ended, user);
}

void guests_libev_detach(void *on) { oneloop_detach(on); }
