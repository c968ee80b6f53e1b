#include "oneloop-libev.h"

typedef struct ev_loop outer_t;
#define attach oneloop_libev_attach
#define new_outer() ev_loop_new(EVFLAG_AUTO)
#define free_outer ev_loop_destroy
#define run_outer(outer) ev_run(outer, 0)
#define break_outer(outer) ev_break(outer, EVBREAK_ALL)
#define iterate_outer(outer) ev_run(outer, EVRUN_NOWAIT)
#define LAST_END NULL /* it ends by itself when nothing is left */
#define PROGRAM guests_libev_program

#include "program.h"
