/* oneloop: one event loop for C libraries, callbacks and async runtimes in one process.
 *
 * Functions that can fail give a negative errno value; oneloop_strerror() has it in words. A NULL for
 * what has to be there, and arguments that make no sense, are -EINVAL; a loop that was closed is
 * -ESHUTDOWN; in a child process after a fork, the parent's loop is -ECHILD. What failed to be
 * registered stays the caller's. Times are in nanoseconds.
 *
 * A process may have several copies of the library: inside a program, say, and a shared one. Calls for a
 * loop that another copy has made go to that copy. If they cannot, they fail with -EXDEV.
 *
 * All functions may be called inside callbacks and outside. None calls back before it returns, but
 * oneloop_run and oneloop_turn, which are for that, and oneloop_close and oneloop_free, which may
 * call destroy functions.
 *
 * Callbacks run one at a time, on the thread that drives: the one in oneloop_run or oneloop_turn, or
 * that of the host (tokio, async-io, another loop). Each has to return: to leave one by longjmp or
 * by an exception is undefined. "Threads", below, says on which a function may be called.
 *
 * Made by cbindgen from the Rust source; do not edit.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#ifndef ONELOOP_H
#define ONELOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** A loop. The pointer is the same for all its handles. */
typedef struct oneloop_t oneloop_t;

/**
 * The version of the library: major, minor and patch, a byte each.
 */
#define ONELOOP_VERSION 256

/**
 * What `oneloop_features` says: edge-triggered handlers.
 */
#define ONELOOP_HAS_EDGE 1

/**
 * What `oneloop_features` says: timers notice at once when the system clock is set.
 */
#define ONELOOP_HAS_CLOCK_NOTICE 2

/**
 * What `oneloop_features` says: children are waited for by pidfd, not by SIGCHLD.
 */
#define ONELOOP_HAS_PIDFD 4

/**
 * The version of `oneloop_api` that this header describes. Later ones only add to its end.
 */
#define ONELOOP_API_VERSION 1

/**
 * Interest and readiness: data, a connection to accept, or the end of the stream.
 */
#define ONELOOP_READABLE 1

/**
 * Exceptional data, such as TCP's out-of-band byte. ENOTSUP where kqueue is, which does not tell.
 */
#define ONELOOP_PRIORITY 2

/**
 * Room to write, or a connect that has ended.
 */
#define ONELOOP_WRITABLE 4

/**
 * Readiness only: an error is pending. Always told to whoever waits for anything.
 */
#define ONELOOP_ERROR 8

/**
 * Readiness only: the peer is gone. Always told to whoever waits for anything.
 */
#define ONELOOP_HANGUP 16

/**
 * Interest and readiness: the peer sends nothing more. Bytes may still wait before that end. Reported
 * to handlers that wait for ONELOOP_READABLE, too. ENOTSUP where the poller does not tell.
 */
#define ONELOOP_READ_CLOSED 32

/**
 * Called in every turn in which the descriptor is ready. What C libraries expect.
 */
#define ONELOOP_LEVEL 0

/**
 * Called for each new readiness.
 */
#define ONELOOP_EDGE 1

/**
 * Called once, then not before `oneloop_update_handler`.
 */
#define ONELOOP_ONESHOT 2

/**
 * What a handler returns: go on.
 */
#define ONELOOP_CONTINUE 0

/**
 * What a handler returns: call me in the next turn, ready or not.
 */
#define ONELOOP_AGAIN 1

/**
 * What a handler returns: remove me.
 */
#define ONELOOP_REMOVE 2

/**
 * After the handlers and timers of the turn. For a handler: the priority that it has at first.
 */
#define ONELOOP_NORMAL 0

/**
 * Before the handlers of the turn. For a handler: before those of normal priority.
 */
#define ONELOOP_HIGH 1

/**
 * In a turn that had nothing else to do, one in each. For a handler: after all others of the turn.
 */
#define ONELOOP_IDLE 2

/**
 * As a delay or a timeout: for as long as it takes.
 */
#define ONELOOP_NEVER INT64_MAX

/**
 * What a turn reports: nothing is left to do now.
 */
#define ONELOOP_TURN_IDLE 1

/**
 * What a turn reports: `oneloop_stop` was called.
 */
#define ONELOOP_TURN_STOPPED 2

/**
 * For `oneloop_host_begin`: the host is done when nothing is left that could call back.
 */
#define ONELOOP_HOST_EXIT_WHEN_EMPTY 1

/**
 * What a host does next: begin to watch the descriptor for reading, and step again.
 */
#define ONELOOP_STEP_WATCH 1

/**
 * What a host does next: stop watching the descriptor, and step again. The descriptor may mean another
 * file after that. A host on poll(2), which hands it over with each call, need not do anything.
 */
#define ONELOOP_STEP_UNWATCH 2

/**
 * What a host does next: step again when the descriptor is readable.
 */
#define ONELOOP_STEP_SLEEP 3

/**
 * What a host does next: let its other work have its turn, and step again without waiting.
 */
#define ONELOOP_STEP_YIELD 4

/**
 * What a host does next: end. `oneloop_stop` was called, or nothing is left. The descriptor is not
 * watched any more.
 */
#define ONELOOP_STEP_DONE 5

/**
 * What `oneloop_count` gives: handlers that are registered.
 */
#define ONELOOP_COUNT_HANDLERS 0

/**
 * Timers that are pending.
 */
#define ONELOOP_COUNT_TIMERS 1

/**
 * Posts that wait to be called.
 */
#define ONELOOP_COUNT_POSTS 2

/**
 * Turns taken.
 */
#define ONELOOP_COUNT_TURNS 3

/**
 * Calls of handlers.
 */
#define ONELOOP_COUNT_HANDLER_CALLS 4

/**
 * Calls of timers.
 */
#define ONELOOP_COUNT_TIMER_CALLS 5

/**
 * Calls of posts.
 */
#define ONELOOP_COUNT_POST_CALLS 6

/**
 * The clock of CLOCK_MONOTONIC, which nobody sets.
 */
#define ONELOOP_MONOTONIC 1

/**
 * The clock of CLOCK_REALTIME. Timers follow it when it is set.
 */
#define ONELOOP_REALTIME 0

/**
 * Names a handler, timer or hook. Stays unique after that is gone: then calls fail with -ENOENT.
 * Never 0.
 */
typedef uint64_t oneloop_id;

/**
 * A handler: what `fd` is ready for is in `ready`. Returns ONELOOP_CONTINUE, ONELOOP_AGAIN or
 * ONELOOP_REMOVE.
 */
typedef int (*oneloop_handler_fn)(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready, void *user);

/**
 * Gives user data back that was passed along with a callback. Called exactly once, when the callback
 * can no longer be called, on the thread that drives, in a turn and never inside the call that removes
 * the callback. If the loop is closed or ends first, it is called by the thread that does that, and
 * functions that it calls with the loop say that it is closed. Not called if registering failed.
 */
typedef void (*oneloop_destroy_fn)(void *user);

/**
 * Called in every turn while it is on, or in turns with nothing else to do. Returns as a handler.
 */
typedef int (*oneloop_deferred_fn)(oneloop_t *loop, oneloop_id id, void *user);

/**
 * Called after a signal has come. Returns as a handler.
 */
typedef int (*oneloop_signal_fn)(oneloop_t *loop, oneloop_id id, int signal, void *user);

/**
 * Called when a child process has ended: with its status as of waitpid(2), or with a negative errno
 * in `error` if somebody else has reaped it.
 */
typedef void (*oneloop_child_fn)(oneloop_t *loop, int pid, int status, int error, void *user);

/**
 * A timer that is due.
 */
typedef void (*oneloop_timer_fn)(oneloop_t *loop, oneloop_id id, void *user);

/**
 * A posted callback.
 */
typedef void (*oneloop_post_fn)(oneloop_t *loop, void *user);

/**
 * Called after all callbacks, right before the loop or its host goes to sleep; gives for how many
 * nanoseconds it may: ONELOOP_NEVER for as long as it likes, 0 for not at all.
 */
typedef int64_t (*oneloop_prepare_fn)(oneloop_t *loop, void *user);

/**
 * All functions, for plug-ins that are loaded at run time and cannot link the library: whoever
 * loads them passes it on.
 */
typedef struct {
  /**
   * ONELOOP_API_VERSION of the library.
   */
  uint32_t version;
  /**
   * The size of the library's table.
   */
  uint32_t size;
  const char *(*strerror)(void);
  uint32_t (*features)(void);
  oneloop_t *(*new_loop)(void);
  oneloop_t *(*hold)(oneloop_t *loop);
  void (*free)(oneloop_t *loop);
  int (*close)(oneloop_t *loop);
  int (*run)(oneloop_t *loop);
  int (*run_forever)(oneloop_t *loop);
  int (*turn)(oneloop_t *loop, int64_t timeout, uint32_t *flags);
  int (*stop)(oneloop_t *loop);
  int (*wake)(oneloop_t *loop);
  int (*host_begin)(oneloop_t *loop, uint32_t flags);
  int (*step)(oneloop_t *loop, uint32_t budget);
  int (*host_end)(oneloop_t *loop);
  int64_t (*next_timeout)(oneloop_t *loop);
  int (*set_referenced)(oneloop_t *loop, oneloop_id id, bool is_referenced);
  int (*set_name)(oneloop_t *loop, oneloop_id id, const char *name);
  int (*is_alive)(oneloop_t *loop);
  int64_t (*count)(oneloop_t *loop, int what);
  int (*dump)(oneloop_t *loop);
  int (*dump_text)(oneloop_t *loop, char *buffer, size_t size);
  int (*add_handler)(oneloop_t *loop,
                     int fd,
                     uint32_t interest,
                     int mode,
                     oneloop_handler_fn callback,
                     void *user,
                     oneloop_destroy_fn destroy,
                     oneloop_id *id);
  int (*update_handler)(oneloop_t *loop, oneloop_id id, uint32_t interest);
  int (*rearm_handler)(oneloop_t *loop, oneloop_id id);
  int (*remove_handler)(oneloop_t *loop, oneloop_id id);
  int (*handler_fd)(oneloop_t *loop, oneloop_id id);
  int (*add_deferred)(oneloop_t *loop,
                      oneloop_deferred_fn callback,
                      void *user,
                      oneloop_destroy_fn destroy,
                      oneloop_id *id);
  int (*add_idle)(oneloop_t *loop,
                  oneloop_deferred_fn callback,
                  void *user,
                  oneloop_destroy_fn destroy,
                  oneloop_id *id);
  int (*enable)(oneloop_t *loop, oneloop_id id, bool on);
  int (*add_signal)(oneloop_t *loop,
                    int signal,
                    oneloop_signal_fn callback,
                    void *user,
                    oneloop_destroy_fn destroy,
                    oneloop_id *id);
  int (*add_child)(oneloop_t *loop,
                   int pid,
                   oneloop_child_fn callback,
                   void *user,
                   oneloop_destroy_fn destroy,
                   oneloop_id *id);
  int (*add_timer)(oneloop_t *loop,
                   int64_t delay,
                   int64_t period,
                   oneloop_timer_fn callback,
                   void *user,
                   oneloop_destroy_fn destroy,
                   oneloop_id *id);
  int (*reset_timer)(oneloop_t *loop, oneloop_id id, int64_t delay);
  int (*reset_timer_at)(oneloop_t *loop,
                        oneloop_id id,
                        int clock,
                        int64_t seconds,
                        int64_t nanoseconds);
  int (*cancel_timer)(oneloop_t *loop, oneloop_id id);
  int (*call_soon)(oneloop_t *loop,
                   int priority,
                   oneloop_post_fn callback,
                   void *user,
                   oneloop_destroy_fn destroy,
                   oneloop_id *id);
  int (*cancel_post)(oneloop_t *loop, oneloop_id id);
  int (*add_hook)(oneloop_t *loop,
                  oneloop_prepare_fn prepare,
                  oneloop_post_fn check,
                  void *user,
                  oneloop_destroy_fn destroy,
                  oneloop_id *id);
  int (*remove_hook)(oneloop_t *loop, oneloop_id id);
  int (*ask_hooks)(oneloop_t *loop);
  int (*set_priority)(oneloop_t *loop, oneloop_id id, int priority);
  int (*limit_rate)(oneloop_t *loop, oneloop_id id, uint32_t calls, int64_t per);
} oneloop_api;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library that is running: that of ONELOOP_VERSION when it was compiled.
 *
 * Threads: any.
 */
uint32_t oneloop_version(void);

/**
 * What the library does on this system, as ONELOOP_HAS_ bits.
 *
 * Threads: any.
 */
uint32_t oneloop_features(void);

/**
 * The table of all functions, in the given version or a later one; NULL if the library is older.
 *
 * Threads: any.
 */
const oneloop_api *oneloop_get_api(uint32_t version);

/**
 * What the last call that failed on this thread has to say, naming the call and the descriptor.
 * Valid until the next call that fails on this thread; an empty string if none has, or if the thread
 * is ending (in what pthread_key_create is given).
 *
 * Threads: any; each has its own.
 */
const char *oneloop_strerror(void);

/**
 * Calls `callback` when `fd` is ready for what `interest` says (ONELOOP_READABLE and so on; 0 for
 * nothing yet), in the mode ONELOOP_LEVEL, ONELOOP_EDGE or ONELOOP_ONESHOT. In force when it
 * returns; never calls back itself. Any number of handlers may be on one descriptor. Gives the id in
 * `id`, if that is not NULL, before the callback can be called; so do the other functions that add.
 *
 * The descriptor stays the caller's, its flags as they are. A descriptor that is closed before its
 * handler is removed goes quiet, and its number can be registered again at once. If a dup keeps the
 * file open, in a child process for example, the handler may be called up to 256 times more, until the
 * loop has noticed; it must not use the number then, which may mean another file. So remove first.
 *
 * Fails with -EBADF if the descriptor is not open, -EINVAL for arguments that make no sense.
 *
 * Threads: any.
 */
int oneloop_add_handler(oneloop_t *loop,
                        int fd,
                        uint32_t interest,
                        int mode,
                        oneloop_handler_fn callback,
                        void *user,
                        oneloop_destroy_fn destroy,
                        oneloop_id *id);

/**
 * Replaces what a handler waits for; 0 pauses it. For edge and one-shot handlers it also re-arms.
 * Costs nothing within a callback if it is undone there. If it changes nothing, the kernel is asked
 * whether the number still means the same file, and a new one is watched.
 *
 * Fails with -ENOENT if the id is unknown, with -EBADF if the descriptor was closed.
 *
 * Threads: any.
 */
int oneloop_update_handler(oneloop_t *loop, oneloop_id id, uint32_t interest);

/**
 * Makes the kernel take the descriptor anew even if nothing seems changed: for libraries that close
 * a socket and open another under the same number inside one call, as libpq does.
 *
 * Threads: any.
 */
int oneloop_rearm_handler(oneloop_t *loop, oneloop_id id);

/**
 * Removes a handler of any kind: of a descriptor, deferred or idle, of a signal or a child. It is
 * not called any more from now on. (If another thread drives, one call may be under way there.) Its
 * destroy function is called later, in a turn.
 *
 * Fails with -ENOENT if the id is unknown, which harms nothing.
 *
 * Threads: any.
 */
int oneloop_remove_handler(oneloop_t *loop, oneloop_id id);

/**
 * Orders a handler of any kind among those that are ready in one turn: ONELOOP_HIGH before ONELOOP_NORMAL, which
 * is what each has at first, and that before ONELOOP_IDLE. All that are ready are called in the turn.
 *
 * Fails with -ENOENT if the id is unknown, with -EINVAL for a priority that does not exist.
 *
 * Threads: any.
 */
int oneloop_set_priority(oneloop_t *loop,
                         oneloop_id id,
                         int priority);

/**
 * Limits a handler of any kind to so many `calls` in an interval of `per` nanoseconds; 0 of either lifts the
 * limit. The interval begins with a call. If the handler is ready once more than it may be called, the loop stops
 * watching it until the interval ends, and calls it then if it is still ready.
 *
 * Fails with -ENOENT if the id is unknown, with -EINVAL for a negative interval.
 *
 * Threads: any.
 */
int oneloop_limit_rate(oneloop_t *loop,
                       oneloop_id id,
                       uint32_t calls,
                       int64_t per);

/**
 * The descriptor of a handler.
 *
 * Threads: any.
 */
int oneloop_handler_fd(oneloop_t *loop, oneloop_id id);

/**
 * Calls `callback` in every turn while it is on, which keeps the loop from sleeping. It is on at
 * first; `oneloop_enable` switches it.
 *
 * Threads: any.
 */
int oneloop_add_deferred(oneloop_t *loop,
                         oneloop_deferred_fn callback,
                         void *user,
                         oneloop_destroy_fn destroy,
                         oneloop_id *id);

/**
 * Calls `callback` again and again, but only when a turn had nothing else to do. It is on at first;
 * `oneloop_enable` switches it.
 *
 * Threads: any.
 */
int oneloop_add_idle(oneloop_t *loop,
                     oneloop_deferred_fn callback,
                     void *user,
                     oneloop_destroy_fn destroy,
                     oneloop_id *id);

/**
 * Switches a deferred or idle callback on or off.
 *
 * Threads: any.
 */
int oneloop_enable(oneloop_t *loop, oneloop_id id, bool on);

/**
 * Calls `callback`, in a turn, after a signal has come to the process; several that come before are
 * one call. No signal is blocked, and what handled it before still does. When the last such handler is
 * removed, the signal does nothing: its default action does not come back.
 *
 * Nor does it in a child process after a fork: there the signal does nothing either, as long as no
 * other program is executed. Such a child should call `signal(SIGTERM, SIG_DFL)`, and the same for what
 * else it wants to be ended by, or watch the signal by a loop of its own.
 *
 * Fails with -ENOTSUP for a signal that cannot be caught, or that says of a fault of the program, which
 * would come again and again (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS); with -ENOTSUP, too, if
 * every thread of the process blocks the signal, which Linux alone tells; with -EINVAL for one that does
 * not exist.
 *
 * Threads: any.
 */
int oneloop_add_signal(oneloop_t *loop,
                       int signal,
                       oneloop_signal_fn callback,
                       void *user,
                       oneloop_destroy_fn destroy,
                       oneloop_id *id);

/**
 * Calls `callback` once, when a child process of this one has ended; by then it is reaped. Nothing is
 * left to be removed after that.
 *
 * Fails with -ECHILD if it is not a child of this process, or was reaped already.
 *
 * Threads: any.
 */
int oneloop_add_child(oneloop_t *loop,
                      int pid,
                      oneloop_child_fn callback,
                      void *user,
                      oneloop_destroy_fn destroy,
                      oneloop_id *id);

/**
 * Calls `callback` once, in a turn of its own, with the priority ONELOOP_NORMAL, ONELOOP_HIGH or
 * ONELOOP_IDLE. In order, from any thread. The user data is destroyed after that, or when the loop
 * ends without.
 *
 * Gives the id in `id`, if that is not NULL, for `oneloop_cancel_post`.
 *
 * Threads: any.
 */
int oneloop_call_soon(oneloop_t *loop,
                      int priority,
                      oneloop_post_fn callback,
                      void *user,
                      oneloop_destroy_fn destroy,
                      oneloop_id *id);

/**
 * Cancels a post that was not called yet. Its destroy function is called later, in a turn.
 *
 * Fails with -ENOENT if it was called or cancelled. If another thread drives, the call may be under way there.
 *
 * Threads: any.
 */
int oneloop_cancel_post(oneloop_t *loop,
                        oneloop_id id);

/**
 * Adds a pair of hooks around the loop's sleep, for libraries that may have something to do without
 * any descriptor showing it. `prepare` is called right before, `check`, if it is not NULL, right
 * after. Bear being called more often, and one of them twice in a row.
 *
 * Under a host (`oneloop_host_begin`), its own code may run after `prepare`. If that uses the library, it has to
 * call `oneloop_wake` then, or the host `oneloop_ask_hooks` right before it waits. Hold nothing from
 * `prepare` to `check` for which such code may wait.
 *
 * Threads: any.
 */
int oneloop_add_hook(oneloop_t *loop,
                     oneloop_prepare_fn prepare,
                     oneloop_post_fn check,
                     void *user,
                     oneloop_destroy_fn destroy,
                     oneloop_id *id);

/**
 * Removes a pair of hooks. Their destroy function is called later, in a turn.
 *
 * Threads: any.
 */
int oneloop_remove_hook(oneloop_t *loop, oneloop_id id);

/**
 * Makes a loop. NULL if the system has no descriptors left; see `oneloop_strerror`.
 *
 * Threads: any.
 */
oneloop_t *oneloop_new(void);

/**
 * Another handle of the loop, for which `oneloop_free` has to be called, too. Gives the pointer that
 * it was given.
 *
 * Threads: any.
 */
oneloop_t *oneloop_hold(oneloop_t *loop);

/**
 * Gives a handle up. With the last one the loop ends: it is closed, what was registered is dropped, and
 * its destroy functions are called. NULL is fine.
 *
 * Threads: any. Destroy functions are called on it.
 */
void oneloop_free(oneloop_t *loop);

/**
 * Removes all that is registered. Later calls fail with -ESHUTDOWN, as does the one that drives now.
 *
 * Threads: any. Destroy functions are called on it.
 */
int oneloop_close(oneloop_t *loop);

/**
 * Drives the loop until `oneloop_stop`, or until nothing is left that could call back.
 *
 * Fails with -EBUSY if it is driven already: by another thread, by a host, or by the callback that
 * calls this. Fails with -ESHUTDOWN if it is closed, or was before.
 *
 * Threads: any, one at a time. Callbacks are called on it.
 */
int oneloop_run(oneloop_t *loop);

/**
 * Drives the loop until `oneloop_stop`, even if nothing is left that could call back. Fails as
 * `oneloop_run`.
 *
 * Threads: any, one at a time. Callbacks are called on it.
 */
int oneloop_run_forever(oneloop_t *loop);

/**
 * One turn: waits for up to `timeout` nanoseconds (0: not at all; ONELOOP_NEVER: as long as it
 * takes), then calls what is ready. Gives how many callbacks were called, and in `flags`, if that is
 * not NULL, the ONELOOP_TURN_ bits. Fails as `oneloop_run`.
 *
 * Threads: any, one at a time. Callbacks are called on it.
 */
int oneloop_turn(oneloop_t *loop,
                 int64_t timeout,
                 uint32_t *flags);

/**
 * Ends whatever drives the loop, after the callback that is running. What was not called stays due.
 * If nobody drives, the next who does returns at once.
 *
 * Threads: any. Also in signal handlers, where it may change errno.
 */
int oneloop_stop(oneloop_t *loop);

/**
 * Makes the loop take a turn.
 *
 * Threads: any. Also in signal handlers, where it may change errno.
 */
int oneloop_wake(oneloop_t *loop);

/**
 * Calls the `prepare` hooks once more. For a host whose own code has run since the last turn, right
 * before it waits for the descriptor. If a hook has something to do, the descriptor becomes readable. Such
 * a host's code may use the library of a hook without calling `oneloop_wake`.
 *
 * Does nothing if the loop is driven, as in a callback, or has no hooks.
 *
 * Threads: any; rather the one that turns. Hooks are called on it.
 */
int oneloop_ask_hooks(oneloop_t *loop);

/**
 * Claims the loop for another loop, its host, which drives it by `oneloop_step`. Gives a descriptor, which
 * belongs to the loop and stays the same. No other driver can drive until `oneloop_host_end`: they fail with
 * -EBUSY, as does this if there is one.
 *
 * A complete host is a loop around this; `flags` is 0, or ONELOOP_HOST_EXIT_WHEN_EMPTY:
 *
 * ```c
 * int fd = oneloop_host_begin(loop, 0);
 * for (;;) {
 *     switch (oneloop_step(loop, 100)) {
 *     case ONELOOP_STEP_WATCH: epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event); continue;
 *     case ONELOOP_STEP_UNWATCH: epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL); continue;
 *     case ONELOOP_STEP_SLEEP: epoll_wait(epoll, &event, 1, -1); continue;
 *     case ONELOOP_STEP_YIELD: continue;
 *     }
 *     break;
 * }
 * oneloop_host_end(loop);
 * ```
 *
 * Threads: any.
 */
int oneloop_host_begin(oneloop_t *loop,
                       uint32_t flags);

/**
 * Takes turns without waiting, and says what the host does next, as one of the ONELOOP_STEP_ values. Step
 * once at the beginning, and then as the last step said.
 *
 * The turns end when nothing is left to do, or when about `budget` callbacks were called. A hundred is a
 * good budget. With it the host's other work gets its turn, and a busy loop is fast.
 *
 * Fails with -ESHUTDOWN if the loop was closed, with -EINVAL without `oneloop_host_begin`, and with -EBUSY
 * in a callback of the loop. After an error the host watches the descriptor as before. If it gives up, it
 * stops watching, and calls `oneloop_host_end`.
 *
 * Threads: any, one at a time. Callbacks are called on it.
 */
int oneloop_step(oneloop_t *loop,
                 uint32_t budget);

/**
 * Gives the claim of `oneloop_host_begin` up. The descriptor must not be watched any more. Another driver
 * may go on with all that is registered.
 *
 * Threads: any.
 */
int oneloop_host_end(oneloop_t *loop);

/**
 * Nanoseconds until the next timer is due, 0 if one is; ONELOOP_NEVER if there is none. A host, which
 * watches the descriptor, does not need it.
 *
 * Threads: any.
 */
int64_t oneloop_next_timeout(oneloop_t *loop);

/**
 * Says whether a handler or timer keeps `oneloop_run` going. At first each does. One that does not is called
 * all the same, as long as something else keeps the loop going.
 *
 * Fails with -ENOENT if the id is unknown.
 *
 * Threads: any.
 */
int oneloop_set_referenced(oneloop_t *loop,
                           oneloop_id id,
                           bool is_referenced);

/**
 * Names a handler of any kind, a timer or a pair of hooks. The name is copied, and stands in what
 * `oneloop_dump` prints.
 *
 * Fails with -ENOENT if the id is unknown, with -EINVAL if the name is NULL or no UTF-8.
 *
 * Threads: any.
 */
int oneloop_set_name(oneloop_t *loop, oneloop_id id, const char *name);

/**
 * Gives 1 if anything is left that could call back, so that `oneloop_run` would go on; 0 if not.
 *
 * Threads: any.
 */
int oneloop_is_alive(oneloop_t *loop);

/**
 * Gives one of the numbers of a loop, ONELOOP_COUNT_HANDLERS and so on.
 *
 * Fails with -EINVAL for another `what`.
 *
 * Threads: any.
 */
int64_t oneloop_count(oneloop_t *loop, int what);

/**
 * Writes what `oneloop_dump` prints into `buffer`, of `size` bytes, with a zero byte at its end. What has no
 * room is left out. Gives the length of the whole text, without that byte, as snprintf(3) does. `buffer` may be
 * NULL if `size` is 0.
 *
 * Threads: any.
 */
int oneloop_dump_text(oneloop_t *loop,
                      char *buffer,
                      size_t size);

/**
 * Prints all that is registered to the standard error output, for people.
 *
 * Threads: any.
 */
int oneloop_dump(oneloop_t *loop);

/**
 * Calls `callback` after `delay` nanoseconds (0: in the next turn; ONELOOP_NEVER: not until it is
 * reset), and then, if `period` is not 0 or ONELOOP_NEVER, every `period` nanoseconds, keeping its phase
 * and skipping what was missed. Never early.
 *
 * A timer is there until `oneloop_cancel_timer`: one that has fired sleeps until it is reset, and
 * does not keep `oneloop_run` going meanwhile.
 *
 * Threads: any.
 */
int oneloop_add_timer(oneloop_t *loop,
                      int64_t delay,
                      int64_t period,
                      oneloop_timer_fn callback,
                      void *user,
                      oneloop_destroy_fn destroy,
                      oneloop_id *id);

/**
 * Moves a timer to `delay` nanoseconds from now; ONELOOP_NEVER puts it to sleep. A periodic one goes
 * on from there. Also in its own callback, where it goes before the period.
 *
 * Fails with -ENOENT if the id is unknown.
 *
 * Threads: any.
 */
int oneloop_reset_timer(oneloop_t *loop,
                        oneloop_id id,
                        int64_t delay);

/**
 * Moves a timer to a time of a clock, ONELOOP_MONOTONIC or ONELOOP_REALTIME, given as a timespec is.
 * One that has passed is due in the next turn. Timers for the same time fire by creation.
 *
 * Threads: any.
 */
int oneloop_reset_timer_at(oneloop_t *loop,
                           oneloop_id id,
                           int clock,
                           int64_t seconds,
                           int64_t nanoseconds);

/**
 * Cancels a timer, also in its own callback. Its destroy function is called later, in a turn.
 *
 * Fails with -ENOENT if the id is unknown, which harms nothing.
 *
 * Threads: any.
 */
int oneloop_cancel_timer(oneloop_t *loop, oneloop_id id);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ONELOOP_H */
