/* oneloop: one event loop for C libraries, callbacks and async runtimes in one process.
 *
 * Functions that can fail return a negative errno value, and oneloop_strerror() has the text. A NULL for
 * a required argument, and an invalid argument, give -EINVAL. A closed loop gives -ESHUTDOWN. In a child
 * process after a fork, the parent's loop gives -ECHILD. If registering fails, the user data stays the
 * caller's. Times are in nanoseconds.
 *
 * On Windows, errors of sockets have Winsock's numbers: -WSAENOTSOCK in the place of -EBADF, and -WSAESHUTDOWN
 * in the place of -ESHUTDOWN. Other errors of the system are -EIO there.
 *
 * A process may have several copies of the library: one inside a program, for example, and a shared one.
 * Calls for a loop that another copy has made go to that copy. If they cannot, they fail with -EXDEV.
 *
 * All functions may be called inside callbacks and outside. Only these call back before they return:
 * oneloop_run, oneloop_run_forever, oneloop_turn, oneloop_step and oneloop_ask_hooks, whose purpose it is,
 * and oneloop_close and oneloop_free, which may call destroy functions.
 *
 * Callbacks run one at a time, on the driving thread: the one in oneloop_run or oneloop_turn, or that of the
 * host (tokio, async-io, another loop). Every callback must return. Leaving one by longjmp or by an
 * exception is undefined behaviour. "Threads", below, says on which threads a function may be called.
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
#ifdef _WIN32
struct pollfd; /* of winsock2.h, in which WSAPOLLFD is another name for it */
#else
#include <poll.h>
#endif

/** A loop. The pointer is the same for all its handles. */
typedef struct oneloop_t oneloop_t;

/**
 * The version of the library: major, minor and patch, with a byte for each.
 */
#define ONELOOP_VERSION 256

/**
 * A bit of `oneloop_features`: there are edge-triggered handlers.
 */
#define ONELOOP_HAS_EDGE 1

/**
 * A bit of `oneloop_features`: timers notice at once when the system clock is set.
 */
#define ONELOOP_HAS_CLOCK_NOTICE 2

/**
 * A bit of `oneloop_features`: children are waited for by pidfd, not by SIGCHLD.
 */
#define ONELOOP_HAS_PIDFD 4

/**
 * A bit of `oneloop_features`: `oneloop_inspect` works.
 */
#define ONELOOP_HAS_INSPECT 8

/**
 * The version of `oneloop_api` that this header describes. Later versions only add to its end.
 */
#define ONELOOP_API_VERSION 1

/**
 * Interest and readiness: data, a connection to accept, or the end of the stream.
 */
#define ONELOOP_READABLE 1

/**
 * Exceptional data, such as TCP's out-of-band byte. ENOTSUP on kqueue, which does not report it.
 */
#define ONELOOP_PRIORITY 2

/**
 * Room to write, or a connection attempt that has ended.
 */
#define ONELOOP_WRITABLE 4

/**
 * Readiness only: an error is pending. Every handler that waits for anything is told.
 */
#define ONELOOP_ERROR 8

/**
 * Readiness only: the peer is gone. Every handler that waits for anything is told.
 */
#define ONELOOP_HANGUP 16

/**
 * Interest and readiness: the peer sends nothing more. Bytes may still wait before that end. Handlers that
 * wait for ONELOOP_READABLE are told, too. ENOTSUP if the poller does not report it.
 */
#define ONELOOP_READ_CLOSED 32

/**
 * A mode: the handler is called in every turn in which the descriptor is ready. C libraries expect this
 * mode.
 */
#define ONELOOP_LEVEL 0

/**
 * A mode: the handler is called for each new readiness.
 */
#define ONELOOP_EDGE 1

/**
 * A mode: the handler is called once, and not again before `oneloop_update_handler`.
 */
#define ONELOOP_ONESHOT 2

/**
 * A handler's result: go on.
 */
#define ONELOOP_CONTINUE 0

/**
 * A handler's result: call the handler in the next turn, even if it is not ready.
 */
#define ONELOOP_AGAIN 1

/**
 * A handler's result: remove the handler.
 */
#define ONELOOP_REMOVE 2

/**
 * A post with this priority is called after the handlers and timers of the turn. A handler has it at first.
 */
#define ONELOOP_NORMAL 0

/**
 * A post with this priority is called before the handlers of the turn, and a handler before those of normal
 * priority.
 */
#define ONELOOP_HIGH 1

/**
 * A post with this priority is called in a turn that had nothing else to do, one in each. A handler is
 * called after all others of the turn.
 */
#define ONELOOP_IDLE 2

/**
 * A delay or a timeout without a limit.
 */
#define ONELOOP_NEVER INT64_MAX

/**
 * A flag of a turn: nothing is left to do now.
 */
#define ONELOOP_TURN_IDLE 1

/**
 * A flag of a turn: `oneloop_stop` was called.
 */
#define ONELOOP_TURN_STOPPED 2

/**
 * A flag of `oneloop_host_begin`: the host is done when nothing is left that could call back.
 */
#define ONELOOP_HOST_EXIT_WHEN_EMPTY 1

/**
 * A host's next action: begin to watch the descriptor for reading, and step again.
 */
#define ONELOOP_STEP_WATCH 1

/**
 * A host's next action: stop watching the descriptor, and step again. The descriptor may mean another file
 * after that. A host on poll(2), which passes the descriptor with each call, need not do anything.
 */
#define ONELOOP_STEP_UNWATCH 2

/**
 * A host's next action: step again when the descriptor is readable.
 */
#define ONELOOP_STEP_SLEEP 3

/**
 * A host's next action: let other work run, and step again without waiting.
 */
#define ONELOOP_STEP_YIELD 4

/**
 * A host's next action: end. `oneloop_stop` was called, or nothing is left. The descriptor is not watched
 * any more.
 */
#define ONELOOP_STEP_DONE 5

/**
 * A number for `oneloop_count`: handlers that are registered.
 */
#define ONELOOP_COUNT_HANDLERS 0

/**
 * A number for `oneloop_count`: timers that are pending.
 */
#define ONELOOP_COUNT_TIMERS 1

/**
 * A number for `oneloop_count`: posts that wait to be called.
 */
#define ONELOOP_COUNT_POSTS 2

/**
 * A number for `oneloop_count`: turns that were taken.
 */
#define ONELOOP_COUNT_TURNS 3

/**
 * A number for `oneloop_count`: calls of handlers.
 */
#define ONELOOP_COUNT_HANDLER_CALLS 4

/**
 * A number for `oneloop_count`: calls of timers.
 */
#define ONELOOP_COUNT_TIMER_CALLS 5

/**
 * A number for `oneloop_count`: calls of posts.
 */
#define ONELOOP_COUNT_POST_CALLS 6

/**
 * The clock of CLOCK_MONOTONIC, which cannot be set.
 */
#define ONELOOP_MONOTONIC 1

/**
 * The clock of CLOCK_REALTIME. Timers follow it when it is set.
 */
#define ONELOOP_REALTIME 0

/**
 * The id of a handler, timer, hook or post. It stays unique after that is gone, and calls with it then fail
 * with -ENOENT. It is never 0.
 */
typedef uint64_t oneloop_id;

#if !defined(_WIN32)
/**
 * A descriptor. On Windows, it is a socket, which Winsock calls a SOCKET.
 */
typedef int oneloop_fd;
#endif

#if defined(_WIN32)
/**
 * A descriptor. On Windows, it is a socket, which Winsock calls a SOCKET.
 */
typedef uintptr_t oneloop_fd;
#endif

/**
 * A handler of `fd`, which has the readiness `ready`. Returns ONELOOP_CONTINUE, ONELOOP_AGAIN or
 * ONELOOP_REMOVE.
 */
typedef int (*oneloop_handler_fn)(oneloop_t *loop,
                                  oneloop_id id,
                                  oneloop_fd fd,
                                  uint32_t ready,
                                  void *user);

/**
 * Takes back the user data of a callback. It is called exactly once, when the callback can no longer be
 * called. The driving thread calls it in a turn, never inside the call that removes the callback. If the
 * loop is closed or ends first, the thread that does this calls it, and calls on the loop then fail with
 * -ESHUTDOWN. If registering failed, it is not called.
 */
typedef void (*oneloop_destroy_fn)(void *user);

/**
 * A deferred or idle callback. A deferred one is called in every turn while it is on, and an idle one in
 * turns with nothing else to do. Returns the same values as a handler.
 */
typedef int (*oneloop_deferred_fn)(oneloop_t *loop, oneloop_id id, void *user);

/**
 * A callback that is called after a signal was sent. Returns the same values as a handler.
 */
typedef int (*oneloop_signal_fn)(oneloop_t *loop, oneloop_id id, int signal, void *user);

/**
 * A callback that is called when a child process has ended. `status` is the status of waitpid(2), and on Windows the
 * exit code. If other code has reaped the child, `error` is a negative errno.
 */
typedef void (*oneloop_child_fn)(oneloop_t *loop, int pid, int status, int error, void *user);

/**
 * A callback of a timer that is due.
 */
typedef void (*oneloop_timer_fn)(oneloop_t *loop, oneloop_id id, void *user);

/**
 * A posted callback.
 */
typedef void (*oneloop_post_fn)(oneloop_t *loop, void *user);

/**
 * A hook that is called after all callbacks, right before the loop or its host sleeps. Returns how many
 * nanoseconds the loop may sleep: ONELOOP_NEVER sets no limit, and 0 forbids sleeping.
 */
typedef int64_t (*oneloop_prepare_fn)(oneloop_t *loop, void *user);

/**
 * A poll set's first callback, which lists the descriptors. It stores them in `fds`, which has `room` entries,
 * and returns how many there are. If there are more than `room`, it is called again with more room. Entries
 * are as for poll(2), or WSAPoll on Windows: `events` is what to wait for, and a negative `fd` is passed over.
 *
 * `timeout` is ONELOOP_NEVER at first. The callback may store how many nanoseconds the loop may sleep.
 */
typedef int (*oneloop_pollset_prepare_fn)(oneloop_t *loop,
                                          struct pollfd *fds,
                                          int room,
                                          int64_t *timeout,
                                          void *user);

/**
 * A poll set's second callback, which is called when a descriptor is ready or the timeout is over. `fds` has
 * the entries that were listed last, in the same order, with `revents`. Other entries may be ready, too: the
 * callback is called again for them.
 */
typedef void (*oneloop_pollset_ready_fn)(oneloop_t *loop, struct pollfd *fds, int count, void *user);

/**
 * A callback that learns of another one, which `id` has, and which took `took` nanoseconds. `name` is from
 * `oneloop_set_name`, or NULL. It is valid during the call.
 */
typedef void (*oneloop_observer_fn)(oneloop_t *loop,
                                    oneloop_id id,
                                    const char *name,
                                    int64_t took,
                                    void *user);

/**
 * A table of all functions, for plug-ins that are loaded at run time and cannot link the library. The
 * program that loads a plug-in passes the table on.
 */
typedef struct {
  /**
   * The library's ONELOOP_API_VERSION.
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
                     oneloop_fd fd,
                     uint32_t interest,
                     int mode,
                     oneloop_handler_fn callback,
                     void *user,
                     oneloop_destroy_fn destroy,
                     oneloop_id *id);
  int (*update_handler)(oneloop_t *loop, oneloop_id id, uint32_t interest);
  int (*rearm_handler)(oneloop_t *loop, oneloop_id id);
  int (*remove_handler)(oneloop_t *loop, oneloop_id id);
  oneloop_fd (*handler_fd)(oneloop_t *loop, oneloop_id id);
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
  int (*add_pollset)(oneloop_t *loop,
                     oneloop_pollset_prepare_fn prepare,
                     oneloop_pollset_ready_fn ready,
                     void *user,
                     oneloop_destroy_fn destroy,
                     oneloop_id *id);
  int (*remove_pollset)(oneloop_t *loop, oneloop_id id);
  int (*move_handler)(oneloop_t *loop, oneloop_id id, oneloop_fd fd);
  int (*handler_ready)(oneloop_t *loop, oneloop_id id);
  int (*observe_callbacks)(oneloop_t *loop,
                           int64_t threshold,
                           oneloop_observer_fn report,
                           void *user,
                           oneloop_destroy_fn destroy,
                           oneloop_id *id);
  int (*remove_observer)(oneloop_t *loop, oneloop_id id);
  int (*report_error)(oneloop_t *loop, const char *library, const char *text);
  int (*inspect)(oneloop_t *loop, const char *address);
} oneloop_api;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Returns the version of the running library: its ONELOOP_VERSION when it was compiled.
 *
 * Threads: any.
 */
uint32_t oneloop_version(void);

/**
 * Returns what the library can do on this system, as ONELOOP_HAS_ bits.
 *
 * Threads: any.
 */
uint32_t oneloop_features(void);

/**
 * Returns the table of all functions, in the given version or a later one. Returns NULL if the library is
 * older.
 *
 * Threads: any.
 */
const oneloop_api *oneloop_get_api(uint32_t version);

/**
 * Returns the text of the last call that failed on this thread, with the call and the descriptor. The text
 * is valid until the next call that fails on this thread. If no call has failed, or if the thread is ending
 * (in a destructor of pthread_key_create), it is empty.
 *
 * Threads: any. Each thread has its own text.
 */
const char *oneloop_strerror(void);

/**
 * Calls `callback` when `fd` has the readiness in `interest`. `interest` has bits such as ONELOOP_READABLE,
 * or is 0 for nothing yet. `mode` is ONELOOP_LEVEL, ONELOOP_EDGE or ONELOOP_ONESHOT. The handler is in force
 * when this returns. This never calls the callback itself. One descriptor can have any number of handlers.
 *
 * If `id` is not NULL, it receives the id before the callback can be called. This holds for all functions
 * that add something.
 *
 * The descriptor stays the caller's, and its flags do not change. If the descriptor is closed before its
 * handler is removed, the handler is not called any more. The number can be registered again at once. There
 * is one exception: a dup, in a child process for example, may keep the file open. The loop may then call
 * the handler up to 256 more times until it notices. The handler must not use the number then, because it
 * may mean another file. Remove the handler before closing.
 *
 * Fails with -EBADF if the descriptor is not open, and with -EINVAL for invalid arguments.
 *
 * Threads: any.
 */
int oneloop_add_handler(oneloop_t *loop,
                        oneloop_fd fd,
                        uint32_t interest,
                        int mode,
                        oneloop_handler_fn callback,
                        void *user,
                        oneloop_destroy_fn destroy,
                        oneloop_id *id);

/**
 * Replaces the interest of a handler. 0 pauses it. This also re-arms edge and one-shot handlers. A change
 * that is undone within the same callback costs nothing. If the call changes nothing, the loop asks the
 * kernel whether the number still means the same file, and watches a new one.
 *
 * Fails with -ENOENT if the id is unknown, and with -EBADF if the descriptor was closed.
 *
 * Threads: any.
 */
int oneloop_update_handler(oneloop_t *loop,
                           oneloop_id id,
                           uint32_t interest);

/**
 * Registers the descriptor with the kernel again, even if nothing seems to have changed. Libraries such as
 * libpq need this: they close a socket and open another under the same number inside one call.
 *
 * Threads: any.
 */
int oneloop_rearm_handler(oneloop_t *loop,
                          oneloop_id id);

/**
 * Moves a handler to another descriptor, `fd`. Libraries that connect again have a new one then. The handler keeps
 * its id, callback, user data, interest, priority, limit and name. It is armed, and not called any more for what
 * the old descriptor was ready for. The old descriptor may be closed already.
 *
 * Fails with -ENOENT if the id is unknown, with -EBADF if `fd` is not open, and with -ENOTSUP if the handler has
 * no descriptor. Nothing changes then. If the kernel refuses `fd` for another reason, the handler is not called
 * any more until it is moved again or re-armed.
 *
 * Threads: any.
 */
int oneloop_move_handler(oneloop_t *loop,
                         oneloop_id id,
                         oneloop_fd fd);

/**
 * Returns the readiness with which the loop calls a handler in this turn, or 0 if it does not. The `check` hook of
 * `oneloop_add_hook` learns by this what the sleep has found. In a handler's callback it is the readiness that the
 * callback was given.
 *
 * Fails with -ENOENT if the id is unknown.
 *
 * Threads: any, but meant for callbacks.
 */
int oneloop_handler_ready(oneloop_t *loop,
                          oneloop_id id);

/**
 * Removes a handler of any kind: of a descriptor, deferred or idle, of a signal or a child. It is not called
 * any more. If another thread is driving, one call may be running there. The destroy function is called
 * later, in a turn.
 *
 * Fails with -ENOENT if the id is unknown. That does no harm.
 *
 * Threads: any.
 */
int oneloop_remove_handler(oneloop_t *loop,
                           oneloop_id id);

/**
 * Orders a handler of any kind among those that are ready in one turn: ONELOOP_HIGH, then ONELOOP_NORMAL,
 * then ONELOOP_IDLE. Every handler starts with ONELOOP_NORMAL. A turn calls all handlers that are ready.
 *
 * Fails with -ENOENT if the id is unknown, and with -EINVAL for a priority that does not exist.
 *
 * Threads: any.
 */
int oneloop_set_priority(oneloop_t *loop,
                         oneloop_id id,
                         int priority);

/**
 * Limits a handler of any kind to `calls` calls in each interval of `per` nanoseconds. If either is 0, this
 * lifts the limit. The interval begins with a call. If the handler has used up its calls and is ready again,
 * the loop stops watching it until the interval ends. It is called then if it is still ready.
 *
 * Fails with -ENOENT if the id is unknown, and with -EINVAL for a negative interval.
 *
 * Threads: any.
 */
int oneloop_limit_rate(oneloop_t *loop,
                       oneloop_id id,
                       uint32_t calls,
                       int64_t per);

/**
 * Returns the descriptor of a handler. A failure is a negative errno here, too; on Windows, after a cast to intptr_t.
 *
 * Threads: any.
 */
oneloop_fd oneloop_handler_fd(oneloop_t *loop,
                              oneloop_id id);

/**
 * Calls `callback` in every turn while it is on, which keeps the loop from sleeping. It is on at first, and
 * `oneloop_enable` switches it.
 *
 * Threads: any.
 */
int oneloop_add_deferred(oneloop_t *loop,
                         oneloop_deferred_fn callback,
                         void *user,
                         oneloop_destroy_fn destroy,
                         oneloop_id *id);

/**
 * Calls `callback` again and again, but only when a turn has nothing else to do. It is on at first, and
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
 * Calls `callback` in a turn after a signal was sent to the process. Several signals of one kind that arrive
 * before the turn lead to one call. This blocks no signal, and handlers that were installed before are still
 * called. After the last such handler is removed, the signal does nothing. Its default action does not
 * return.
 *
 * In a child process after a fork, the signal does nothing either, unless another program is executed. The
 * child should call `signal(SIGTERM, SIG_DFL)`, and do so for every other signal that should end it. It may
 * also watch the signal with a loop of its own.
 *
 * Fails with -ENOTSUP for a signal that cannot be caught. Fails with -ENOTSUP for signals that report a
 * fault of the program, which would occur again and again: SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS.
 * On Linux, fails with -ENOTSUP if every thread of the process blocks the signal. Fails with -EINVAL for a
 * signal that does not exist.
 *
 * On Windows there are SIGINT, which is Ctrl-C, and SIGBREAK. Others give -ENOTSUP. After the last handler is removed,
 * the key ends the process again.
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
 * Calls `callback` once, when a child of this process has ended and was reaped. After that, nothing is left
 * to be removed.
 *
 * Fails with -ECHILD if the process is not a child of this one, or was reaped already. On Windows, any process will do
 * that this one may wait for, by its dwProcessId.
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
 * Serves a live page of the loop, on the loop itself, until the loop is closed or ends. `address` is an IP address
 * and a port, such as "127.0.0.1:6669", or "unix:" and a path. Port 0 means any free port. Returns the port, or 0
 * for a path.
 *
 * The server does not keep `oneloop_run` going. While no page is open, nothing is timed.
 *
 * Fails with -EINVAL if the address is neither, with -EACCES if other machines could connect to it, and with
 * -ENOTSUP if the library was built without the feature "inspect": see ONELOOP_HAS_INSPECT.
 *
 * Threads: any.
 */
int oneloop_inspect(oneloop_t *loop,
                    const char *address);

/**
 * Watches a set of descriptors that a library lists again before each sleep, as for poll(2): ALSA, libusb,
 * GLib, Net-SNMP. The loop calls `prepare` before it sleeps, and `ready` when a descriptor is ready or the
 * timeout is over. Only differences between two lists reach the kernel. The set is level-triggered.
 *
 * `prepare` may be called at other times, too, and several times in a row. The set keeps `oneloop_run` going
 * as long as it lists a descriptor or a timeout. An entry whose `events` is 0 is not watched.
 *
 * Under a host (`oneloop_host_begin`), the host's own code may run after `prepare`. If that code uses the
 * library, it must call `oneloop_wake` afterwards, or the host must call `oneloop_ask_hooks` right before it
 * waits.
 *
 * Threads: any.
 */
int oneloop_add_pollset(oneloop_t *loop,
                        oneloop_pollset_prepare_fn prepare,
                        oneloop_pollset_ready_fn ready,
                        void *user,
                        oneloop_destroy_fn destroy,
                        oneloop_id *id);

/**
 * Removes a poll set. Its descriptors are not watched any more. Its destroy function is called later, in a
 * turn.
 *
 * Fails with -ENOENT if the id is unknown.
 *
 * Threads: any.
 */
int oneloop_remove_pollset(oneloop_t *loop,
                           oneloop_id id);

/**
 * Calls `callback` once, in a turn, with the priority ONELOOP_NORMAL, ONELOOP_HIGH or ONELOOP_IDLE. Posts of
 * one thread and one priority keep their order. The user data is destroyed after the call, or when the loop
 * ends without a call.
 *
 * If `id` is not NULL, it receives the id for `oneloop_cancel_post`.
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
 * Fails with -ENOENT if the post was called or cancelled. If another thread is driving, the call may be
 * running there.
 *
 * Threads: any.
 */
int oneloop_cancel_post(oneloop_t *loop,
                        oneloop_id id);

/**
 * Adds a pair of hooks around the loop's sleep, for libraries that may have something to do although none of
 * their descriptors is ready. The loop calls `prepare` right before it sleeps, and `check`, if it is not
 * NULL, right after. Both must tolerate extra calls, including the same hook twice in a row.
 *
 * Under a host (`oneloop_host_begin`), the host's own code may run after `prepare`. If that code uses the
 * library, it must call `oneloop_wake` afterwards, or the host must call `oneloop_ask_hooks` right before it
 * waits. A hook must not hold anything from `prepare` to `check` for which such code may wait.
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
 * Makes a loop. Returns NULL if the system has no descriptors left. `oneloop_strerror` has the reason.
 *
 * Threads: any.
 */
oneloop_t *oneloop_new(void);

/**
 * Adds a handle of the loop and returns the same pointer. `oneloop_free` must be called for it, too.
 *
 * Threads: any.
 */
oneloop_t *oneloop_hold(oneloop_t *loop);

/**
 * Gives up a handle. With the last handle the loop ends: it is closed, everything registered is dropped, and
 * the destroy functions are called. NULL is allowed.
 *
 * Threads: any. Destroy functions are called on it.
 */
void oneloop_free(oneloop_t *loop);

/**
 * Removes all that is registered. Later calls fail with -ESHUTDOWN, and so does the current driver.
 *
 * Threads: any. Destroy functions are called on it.
 */
int oneloop_close(oneloop_t *loop);

/**
 * Drives the loop until `oneloop_stop` is called, or until nothing is left that could call back.
 *
 * Fails with -EBUSY if another thread, a host or the calling callback is driving the loop already. Fails
 * with -ESHUTDOWN if the loop is closed, or was closed before.
 *
 * Threads: any, one at a time. Callbacks are called on it.
 */
int oneloop_run(oneloop_t *loop);

/**
 * Drives the loop until `oneloop_stop` is called, even if nothing is left that could call back. Fails in the
 * same cases as `oneloop_run`.
 *
 * Threads: any, one at a time. Callbacks are called on it.
 */
int oneloop_run_forever(oneloop_t *loop);

/**
 * Takes one turn: waits for up to `timeout` nanoseconds, then calls what is ready. A timeout of 0 means no
 * wait, and ONELOOP_NEVER sets no limit. Returns the number of callbacks that were called. If `flags` is not
 * NULL, it receives the ONELOOP_TURN_ bits. Fails in the same cases as `oneloop_run`.
 *
 * Threads: any, one at a time. Callbacks are called on it.
 */
int oneloop_turn(oneloop_t *loop,
                 int64_t timeout,
                 uint32_t *flags);

/**
 * Ends any driver of the loop, after the callback that is running. Callbacks that were not called stay due.
 * If this is called while the loop is not being driven, the next driving call returns at once.
 *
 * Threads: any. Signal handlers may call this, too. It may change errno.
 */
int oneloop_stop(oneloop_t *loop);

/**
 * Makes the loop take a turn.
 *
 * Threads: any. Signal handlers may call this, too. It may change errno.
 */
int oneloop_wake(oneloop_t *loop);

/**
 * Calls the `prepare` hooks once more. A host calls this right before it waits for the descriptor, if its
 * own code has run since the last turn. If a hook has something to do, the descriptor becomes readable. The
 * code of such a host may use a hook's library without calling `oneloop_wake`.
 *
 * Does nothing if the loop is being driven, as in a callback, or has no hooks.
 *
 * Threads: any, but preferably the one that turns. Hooks are called on it.
 */
int oneloop_ask_hooks(oneloop_t *loop);

/**
 * Claims the loop for another loop, its host, which drives it by `oneloop_step`. Returns a descriptor, which
 * belongs to the loop and keeps its number. No other driver can drive until `oneloop_host_end`: it fails
 * with -EBUSY. This fails with -EBUSY if there is a driver already, and with -ENOTSUP on Windows, where there is no
 * such descriptor.
 *
 * A complete host is a loop around `oneloop_step`. `flags` is 0 or ONELOOP_HOST_EXIT_WHEN_EMPTY:
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
 * Takes turns without waiting, and returns the host's next action as one of the ONELOOP_STEP_ values. A host
 * steps once at the beginning, and then does what each step returns.
 *
 * The turns end when nothing is left to do, or when about `budget` callbacks were called. A budget of about
 * a hundred works well: a busy loop is fast, and the host's other work gets its turn.
 *
 * Fails with -ESHUTDOWN if the loop was closed, with -EINVAL without `oneloop_host_begin`, and with -EBUSY
 * in a callback of the loop. After an error the host watches the descriptor as before. If it gives up, it
 * must stop watching, and call `oneloop_host_end`.
 *
 * Threads: any, one at a time. Callbacks are called on it.
 */
int oneloop_step(oneloop_t *loop,
                 uint32_t budget);

/**
 * Gives up the claim of `oneloop_host_begin`. The host must not watch the descriptor any more. Another
 * driver may continue with all that is registered.
 *
 * Threads: any.
 */
int oneloop_host_end(oneloop_t *loop);

/**
 * Returns the nanoseconds until the next timer is due, 0 if one is due, and ONELOOP_NEVER if there is none.
 * A host does not need this, because it watches the descriptor.
 *
 * Threads: any.
 */
int64_t oneloop_next_timeout(oneloop_t *loop);

/**
 * Decides whether a handler or timer keeps `oneloop_run` going. At first each one does. The loop still calls
 * one that does not, as long as something else keeps the loop going.
 *
 * Fails with -ENOENT if the id is unknown.
 *
 * Threads: any.
 */
int oneloop_set_referenced(oneloop_t *loop,
                           oneloop_id id,
                           bool is_referenced);

/**
 * Names a handler of any kind, a timer or a pair of hooks. The name is copied. `oneloop_dump` prints it.
 *
 * Fails with -ENOENT if the id is unknown, and with -EINVAL if the name is NULL or not UTF-8.
 *
 * Threads: any.
 */
int oneloop_set_name(oneloop_t *loop,
                     oneloop_id id,
                     const char *name);

/**
 * Calls `report` after each callback that takes `threshold` nanoseconds or more. A threshold of 0 reports all
 * calls. A loop can have several observers. While it has one, it reads the clock twice per call.
 *
 * `report` may use the loop, and is not reported itself.
 *
 * Fails with -EINVAL for a negative threshold.
 *
 * Threads: any. The driving thread calls `report`.
 */
int oneloop_observe_callbacks(oneloop_t *loop,
                              int64_t threshold,
                              oneloop_observer_fn report,
                              void *user,
                              oneloop_destroy_fn destroy,
                              oneloop_id *id);

/**
 * Removes an observer. If another thread is driving, one report may be running there. The destroy function is
 * called later, in a turn.
 *
 * Fails with -ENOENT if the id is unknown.
 *
 * Threads: any.
 */
int oneloop_remove_observer(oneloop_t *loop,
                            oneloop_id id);

/**
 * Reports an error that has no other way to be reported, such as one in a callback that returns void. `library` is
 * the name of the library that has met it. The loop reports both texts in a turn, as it reports a callback of Rust
 * that fails: to `Builder::on_error` of the reactor, or else to the standard error output. The texts are copied.
 * The headers for known libraries use this.
 *
 * Fails with -EINVAL if a text is NULL.
 *
 * Threads: any.
 */
int oneloop_report_error(oneloop_t *loop,
                         const char *library,
                         const char *text);

/**
 * Returns 1 if anything is left that could call back, so that `oneloop_run` would continue. Returns 0
 * otherwise.
 *
 * Threads: any.
 */
int oneloop_is_alive(oneloop_t *loop);

/**
 * Returns one of the numbers of a loop, such as ONELOOP_COUNT_HANDLERS.
 *
 * Fails with -EINVAL for an unknown `what`.
 *
 * Threads: any.
 */
int64_t oneloop_count(oneloop_t *loop, int what);

/**
 * Writes the text of `oneloop_dump` into `buffer`, which has `size` bytes, with a zero byte at its end. Text
 * without room is left out. Returns the length of the whole text without that byte, like snprintf(3).
 * `buffer` may be NULL if `size` is 0.
 *
 * Threads: any.
 */
int oneloop_dump_text(oneloop_t *loop,
                      char *buffer,
                      size_t size);

/**
 * Prints all that is registered to the standard error output, as text.
 *
 * Threads: any.
 */
int oneloop_dump(oneloop_t *loop);

/**
 * Calls `callback` after `delay` nanoseconds. A delay of 0 means the next turn, and ONELOOP_NEVER means not
 * before a reset. If `period` is neither 0 nor ONELOOP_NEVER, it is then called every `period` nanoseconds.
 * Such a timer keeps its phase and skips the calls that it missed. Timers are never early.
 *
 * A timer exists until `oneloop_cancel_timer`. After it has fired, it sleeps until it is reset, and does not
 * keep `oneloop_run` going meanwhile.
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
 * Moves a timer to `delay` nanoseconds from now. ONELOOP_NEVER puts it to sleep. A periodic timer continues
 * from there. In the timer's own callback, the reset takes precedence over the period.
 *
 * Fails with -ENOENT if the id is unknown.
 *
 * Threads: any.
 */
int oneloop_reset_timer(oneloop_t *loop,
                        oneloop_id id,
                        int64_t delay);

/**
 * Moves a timer to a time of a clock, ONELOOP_MONOTONIC or ONELOOP_REALTIME, given like a timespec. If the
 * time has passed, the timer is due in the next turn. Timers for the same time fire in the order of their
 * creation.
 *
 * Fails with -EINVAL for ONELOOP_MONOTONIC on Windows, which has no such clock.
 *
 * Threads: any.
 */
int oneloop_reset_timer_at(oneloop_t *loop,
                           oneloop_id id,
                           int clock,
                           int64_t seconds,
                           int64_t nanoseconds);

/**
 * Cancels a timer, even in its own callback. The destroy function is called later, in a turn.
 *
 * Fails with -ENOENT if the id is unknown. That does no harm.
 *
 * Threads: any.
 */
int oneloop_cancel_timer(oneloop_t *loop, oneloop_id id);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ONELOOP_H */
