/* The libverto module; see verto-oneloop.h.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "verto-oneloop.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define VERTO_MODULE_TYPES
typedef struct context verto_mod_ctx;
typedef struct event verto_mod_ev;
#include <verto-module.h>

/* In the order in which they are called. */
enum rank { HIGH, NONE, MEDIUM, LOW, RANKS };

/* A ring: a head and its members, or a member that is in none. */
struct ring {
    struct ring *next, *previous;
};

struct context {
    oneloop_t *loop;
    pid_t pid;              /* the process that owns the loop */
    int users;              /* the context itself, and posts that are under way */
    struct ring events;     /* all but idle ones */
    struct ring idle;
    struct ring stale;      /* disarmed by verto_reinitialize, but not deleted */
    int ranked[RANKS];      /* how many of `events` there are of each rank */
    struct ring due[RANKS]; /* to be called, in order */
    bool calling_due, calling_idle; /* a post that does so is under way */
};

struct event {
    struct ring all, due;
    struct context *ctx;
    verto_ev *ev;
    oneloop_id id;
    enum rank rank;
    int status;  /* of a child */
    bool reaped; /* by another event for the same child */
    bool stale;  /* as in the context */
};

#define EVENT(link, member) ((struct event *)((char *)(link)-offsetof(struct event, member)))

static void ring_init(struct ring *ring) { ring->next = ring->previous = ring; }

static bool is_alone(const struct ring *ring) { return ring->next == ring; }

static void take_out(struct ring *member) {
    member->next->previous = member->previous;
    member->previous->next = member->next;
    ring_init(member);
}

static void append(struct ring *head, struct ring *member) {
    take_out(member);
    member->previous = head->previous;
    member->next = head;
    member->previous->next = head->previous = member;
}

/* Contexts. */

static struct context *make(oneloop_t *loop) {
    struct context *ctx = loop ? calloc(1, sizeof *ctx) : NULL;
    if (!ctx) {
        oneloop_free(loop);
        return NULL;
    }
    ctx->loop = loop;
    ctx->pid = getpid();
    ctx->users = 1;
    ring_init(&ctx->events);
    ring_init(&ctx->idle);
    ring_init(&ctx->stale);
    for (int rank = 0; rank < RANKS; rank++)
        ring_init(&ctx->due[rank]);
    return ctx;
}

static void release(void *user) {
    struct context *ctx = user;
    if (--ctx->users == 0)
        free(ctx);
}

/* Calls `callback` in a turn, unless that is under way. */
static bool post(struct context *ctx, int priority, oneloop_post_fn callback, bool *under_way) {
    if (*under_way)
        return true;
    ctx->users++;
    *under_way = oneloop_call_soon(ctx->loop, priority, callback, ctx, release, NULL) == 0;
    if (!*under_way)
        ctx->users--;
    return *under_way;
}

/* Calling. */

static enum rank rank_of(const verto_ev *ev) {
    verto_ev_flag flags = verto_get_flags(ev);
    return flags & VERTO_EV_FLAG_PRIORITY_HIGH     ? HIGH
           : flags & VERTO_EV_FLAG_PRIORITY_MEDIUM ? MEDIUM
           : flags & VERTO_EV_FLAG_PRIORITY_LOW    ? LOW
                                                   : NONE;
}

static uint32_t interest(const verto_ev *ev) {
    verto_ev_flag flags = verto_get_flags(ev);
    return (flags & VERTO_EV_FLAG_IO_READ ? ONELOOP_READABLE : 0) |
           (flags & VERTO_EV_FLAG_IO_WRITE ? ONELOOP_WRITABLE : 0);
}

static void set_state(verto_ev *ev, bool readable, bool writable, bool error, bool hangup) {
    verto_ev_flag flags = verto_get_flags(ev);
    verto_ev_flag state = VERTO_EV_FLAG_NONE;
    /* Before a hang-up there may be bytes to read, but writing is over. */
    if ((readable || hangup) && flags & VERTO_EV_FLAG_IO_READ)
        state |= VERTO_EV_FLAG_IO_READ;
    if (writable && flags & VERTO_EV_FLAG_IO_WRITE)
        state |= VERTO_EV_FLAG_IO_WRITE;
    if (error || (hangup && !(flags & VERTO_EV_FLAG_IO_READ)))
        state |= VERTO_EV_FLAG_IO_ERROR;
    verto_set_fd_state(ev, state);
}

/* The next of those that are due, and, if it is for a descriptor, still are: what was called before
 * it may have read what there was. */
static struct event *next_due(struct context *ctx) {
    for (int rank = 0; rank < RANKS; rank++) {
        while (!is_alone(&ctx->due[rank])) {
            struct event *event = EVENT(ctx->due[rank].next, due);
            uint32_t wanted = interest(event->ev);
            struct pollfd fd = {.fd = verto_get_fd(event->ev)};
            take_out(&event->due);
            if (verto_get_type(event->ev) != VERTO_EV_TYPE_IO)
                return event;
            fd.events = (wanted & ONELOOP_READABLE ? POLLIN : 0) |
                        (wanted & ONELOOP_WRITABLE ? POLLOUT : 0);
            if (!wanted || poll(&fd, 1, 0) != 1 || fd.revents & POLLNVAL)
                continue;
            set_state(event->ev, fd.revents & POLLIN, fd.revents & POLLOUT, fd.revents & POLLERR,
                      fd.revents & POLLHUP);
            return event;
        }
    }
    return NULL;
}

static void call_all_due(struct context *ctx) {
    struct event *event;
    while ((event = next_due(ctx)))
        verto_fire(event->ev);
}

static void call_due(oneloop_t *loop, void *user) {
    struct context *ctx = user;
    (void)loop;
    ctx->calling_due = false;
    call_all_due(ctx);
}

static void call_idle(oneloop_t *loop, void *user) {
    struct context *ctx = user;
    struct ring *link;
    (void)loop;
    ctx->calling_idle = false;
    for (link = ctx->idle.next; link != &ctx->idle; link = link->next) {
        struct event *event = EVENT(link, all);
        append(&ctx->due[event->rank], &event->due);
    }
    call_all_due(ctx);
    if (!is_alone(&ctx->idle))
        post(ctx, ONELOOP_IDLE, call_idle, &ctx->calling_idle);
}

/* Puts an event that is ready off until the others of this turn are known, if their priorities
 * differ. */
static bool put_off(struct event *event) {
    struct context *ctx = event->ctx;
    int others = 0;
    for (int rank = 0; rank < RANKS; rank++)
        others += rank == (int)event->rank ? 0 : ctx->ranked[rank];
    if (!others || !post(ctx, ONELOOP_NORMAL, call_due, &ctx->calling_due)) {
        take_out(&event->due);
        return false;
    }
    append(&ctx->due[event->rank], &event->due);
    return true;
}

/* The callback may free the event. */
static void fire(struct event *event) {
    if (!put_off(event))
        verto_fire(event->ev);
}

static int on_io(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user) {
    struct event *event = user;
    (void)loop, (void)id, (void)fd;
    set_state(event->ev, ready & ONELOOP_READABLE, ready & ONELOOP_WRITABLE, ready & ONELOOP_ERROR,
              ready & ONELOOP_HANGUP);
    fire(event);
    return ONELOOP_CONTINUE;
}

static void on_timeout(oneloop_t *loop, oneloop_id id, void *user) {
    struct event *event = user;
    /* There is no period of zero. */
    if (verto_get_interval(event->ev) <= 0 && verto_get_flags(event->ev) & VERTO_EV_FLAG_PERSIST)
        oneloop_reset_timer(loop, id, 0);
    fire(event);
}

static int on_signal(oneloop_t *loop, oneloop_id id, int signal, void *user) {
    (void)loop, (void)id, (void)signal;
    fire(user);
    return ONELOOP_CONTINUE;
}

static void on_child(oneloop_t *loop, int pid, int status, int error, void *user) {
    struct event *event = user;
    struct ring *link;
    (void)loop;
    if (error) {
        status = event->reaped ? event->status : -1;
    } else {
        for (link = event->ctx->events.next; link != &event->ctx->events; link = link->next) {
            struct event *other = EVENT(link, all);
            if (verto_get_proc(other->ev) == pid)
                other->status = status, other->reaped = true;
        }
    }
    verto_set_proc_status(event->ev, status);
    fire(event);
}

/* Events. */

static int64_t delay_of(const verto_ev *ev) {
    time_t interval = verto_get_interval(ev);
    if (interval <= 0)
        return 0;
    return interval < ONELOOP_NEVER / 1000000 ? interval * (int64_t)1000000 : ONELOOP_NEVER;
}

/* Registers it with the context's loop. */
static bool arm(struct event *event) {
    struct context *ctx = event->ctx;
    verto_ev *ev = event->ev;
    switch (verto_get_type(ev)) {
    case VERTO_EV_TYPE_IO:
        return oneloop_add_handler(ctx->loop, verto_get_fd(ev), interest(ev), ONELOOP_LEVEL, on_io,
                                   event, NULL, &event->id) == 0;
    case VERTO_EV_TYPE_TIMEOUT:
        return oneloop_add_timer(ctx->loop, delay_of(ev),
                                 verto_get_flags(ev) & VERTO_EV_FLAG_PERSIST ? delay_of(ev) : 0,
                                 on_timeout, event, NULL, &event->id) == 0;
    case VERTO_EV_TYPE_IDLE:
        return post(ctx, ONELOOP_IDLE, call_idle, &ctx->calling_idle);
    case VERTO_EV_TYPE_SIGNAL:
        return oneloop_add_signal(ctx->loop, verto_get_signal(ev), on_signal, event, NULL,
                                  &event->id) == 0;
    case VERTO_EV_TYPE_CHILD:
        return oneloop_add_child(ctx->loop, verto_get_proc(ev), on_child, event, NULL,
                                 &event->id) == 0;
    default:
        return false;
    }
}

/* In a child process the loop is the parent's: gives the context one of its own there, also without
 * verto_reinitialize, since programs become daemons with their events set up. False on error. */
static bool move_to_child(struct context *ctx) {
    oneloop_t *parents = ctx->loop, *own;
    struct ring *link;
    if (ctx->pid == getpid())
        return true;
    own = oneloop_new();
    if (!own)
        return false;
    ctx->loop = own;
    ctx->pid = getpid();
    for (link = ctx->events.next; link != &ctx->events; link = link->next) {
        EVENT(link, all)->id = 0;
        /* A child of the parent is none of ours, and is not heard of. */
        arm(EVENT(link, all));
    }
    /* The posts of the other loop are not called any more. */
    ctx->calling_due = ctx->calling_idle = false;
    post(ctx, ONELOOP_NORMAL, call_due, &ctx->calling_due);
    if (!is_alone(&ctx->idle))
        post(ctx, ONELOOP_IDLE, call_idle, &ctx->calling_idle);
    oneloop_free(parents);
    return true;
}

/* The module. */

static verto_mod_ctx *oneloop_ctx_new(void) { return make(oneloop_new()); }

static void oneloop_ctx_free(verto_mod_ctx *ctx) {
    oneloop_t *loop = ctx->loop;
    release(ctx);
    oneloop_free(loop);
}

static void oneloop_ctx_run(verto_mod_ctx *ctx) {
    oneloop_t *loop;
    do {
        if (!move_to_child(ctx))
            return;
        loop = ctx->loop;
        oneloop_run(loop);
        /* A callback may have forked, and the child goes on, too. */
    } while (ctx->loop != loop || ctx->pid != getpid());
}

static void oneloop_ctx_run_once(verto_mod_ctx *ctx) {
    bool waits = !is_alone(&ctx->events) || !is_alone(&ctx->idle);
    if (move_to_child(ctx))
        oneloop_turn(ctx->loop, waits ? ONELOOP_NEVER : 0, NULL);
}

static void oneloop_ctx_break(verto_mod_ctx *ctx) {
    if (move_to_child(ctx))
        oneloop_stop(ctx->loop);
}

static void oneloop_ctx_set_flags(verto_mod_ctx *ctx, const verto_ev *ev, verto_mod_ev *event) {
    enum rank rank = rank_of(ev);
    if (!event || event->stale)
        return;
    if (verto_get_type(ev) != VERTO_EV_TYPE_IDLE)
        ctx->ranked[event->rank]--, ctx->ranked[rank]++;
    if (rank != event->rank && !is_alone(&event->due))
        append(&ctx->due[rank], &event->due);
    event->rank = rank;
    /* libverto has no result for this. */
    if (verto_get_type(ev) == VERTO_EV_TYPE_IO &&
        oneloop_update_handler(ctx->loop, event->id, interest(ev)) < 0)
        oneloop_report_error(ctx->loop, "libverto", oneloop_strerror());
}

static verto_mod_ev *oneloop_ctx_add(verto_mod_ctx *ctx, const verto_ev *ev, verto_ev_flag *flags) {
    struct event *event = NULL;
    struct ring *link;
    if (!move_to_child(ctx))
        return NULL;
    for (link = ctx->stale.next; link != &ctx->stale && !event; link = link->next) {
        if (EVENT(link, all)->ev == ev)
            event = EVENT(link, all);
    }
    if (!event && !(event = calloc(1, sizeof *event)))
        return NULL;
    if (event->stale)
        take_out(&event->all);
    event->stale = false;
    event->ctx = ctx;
    event->ev = (verto_ev *)ev;
    event->rank = rank_of(ev);
    ring_init(&event->all);
    ring_init(&event->due);
    if (!arm(event)) {
        free(event);
        return NULL;
    }
    if (verto_get_type(ev) == VERTO_EV_TYPE_IDLE) {
        append(&ctx->idle, &event->all);
    } else {
        append(&ctx->events, &event->all);
        ctx->ranked[event->rank]++;
    }
    *flags |= VERTO_EV_FLAG_PERSIST;
    return event;
}

static void disarm(struct event *event) {
    struct context *ctx = event->ctx;
    verto_ev_type type = verto_get_type(event->ev);
    take_out(&event->all);
    take_out(&event->due);
    if (type != VERTO_EV_TYPE_IDLE)
        ctx->ranked[event->rank]--;
    if (type == VERTO_EV_TYPE_TIMEOUT)
        oneloop_cancel_timer(ctx->loop, event->id);
    else if (type != VERTO_EV_TYPE_IDLE)
        oneloop_remove_handler(ctx->loop, event->id);
    event->id = 0;
}

static void oneloop_ctx_del(verto_mod_ctx *ctx, const verto_ev *ev, verto_mod_ev *event) {
    (void)ctx, (void)ev;
    if (!event)
        return; /* verto_reinitialize could not add it */
    if (!event->stale)
        disarm(event);
    take_out(&event->all);
    free(event);
}

static void make_stale(struct ring *ring) {
    while (!is_alone(ring)) {
        struct event *event = EVENT(ring->next, all);
        disarm(event);
        event->stale = true;
        append(&event->ctx->stale, &event->all);
    }
}

static void oneloop_ctx_reinitialize(verto_mod_ctx *ctx) {
    /* libverto has deleted all events, but for one that is being called. 0.3.1 adds that again before
     * it deletes it, later ones delete what it was. */
    make_stale(&ctx->events);
    make_stale(&ctx->idle);
    move_to_child(ctx);
}

/* oneloop knows no default loop: the first context that libverto makes for one is it. */
#define oneloop_ctx_default NULL

VERTO_MODULE(oneloop, oneloop_new,
             VERTO_EV_TYPE_IO | VERTO_EV_TYPE_TIMEOUT | VERTO_EV_TYPE_IDLE | VERTO_EV_TYPE_SIGNAL |
                 VERTO_EV_TYPE_CHILD)

verto_ctx *verto_convert_oneloop(oneloop_t *loop) {
    struct context *ctx = make(oneloop_hold(loop));
    return ctx ? verto_convert(oneloop, 0, ctx) : NULL;
}
