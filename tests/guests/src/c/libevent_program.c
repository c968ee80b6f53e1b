#include "oneloop-libevent.h"

typedef struct event_base outer_t;
#define attach oneloop_libevent_attach
#define new_outer event_base_new
#define free_outer event_base_free
#define run_outer event_base_dispatch
#define break_outer event_base_loopbreak
#define iterate_outer(outer) event_base_loop(outer, EVLOOP_ONCE | EVLOOP_NONBLOCK)
#define LAST_END NULL /* it ends by itself when nothing is left */
#define PROGRAM guests_libevent_program

#include "program.h"
