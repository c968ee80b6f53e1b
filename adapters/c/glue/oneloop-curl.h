/* libcurl on a oneloop loop.
 *
 *   static void done(struct oneloop_curl *curl, CURL *easy, CURLcode result, void *user) {
 *       curl_easy_cleanup(easy); // or begin the next: curl_multi_add_handle(curl->multi, easy)
 *   }
 *   struct oneloop_curl *curl = oneloop_curl_attach(loop, multi, done, user);
 *   curl_multi_add_handle(multi, easy);
 *   ... the loop does the rest ...
 *   oneloop_curl_detach(curl);
 *   curl_multi_cleanup(multi);
 *
 * `done` gets each easy handle that is finished, taken out of the multi handle unless oneloop_curl_keep
 * says otherwise. It may begin others, and detach.
 *
 * Errors: `done` gets those of transfers. If a socket cannot be watched, all transfers end. An error of libcurl's own
 * as it is called by the loop is reported by oneloop_report_error.
 *
 * Threads: all on the thread that drives the loop. Pausing and unpausing, too: from other threads, by
 * oneloop_call_soon(). If the loop ends first, transfers stop where they are.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_CURL_H
#define ONELOOP_CURL_H

#include <curl/curl.h>
#include <oneloop.h>
#include <stdlib.h>

struct oneloop_curl {
    oneloop_t *loop;
    CURLM *multi; /* NULL once it is detached */
    int gone;     /* the loop has ended */
    void (*done)(struct oneloop_curl *curl, CURL *easy, CURLcode result, void *user);
    void *user;
    oneloop_id timer;
    struct oneloop_curl_socket *sockets;
    struct oneloop_curl_kept *kept;
};

/* A socket that libcurl has us watch: what it keeps with it, in a list of all. */
struct oneloop_curl_socket {
    struct oneloop_curl *curl;
    struct oneloop_curl_socket *next, **place; /* `place` is NULL once libcurl has done with it */
    oneloop_id id;
    int gone; /* with the loop, or after that */
};

/* A handle that stays in the multi handle when it is finished. */
struct oneloop_curl_kept {
    CURL *easy;
    struct oneloop_curl_kept *next;
};

/* Leaves an easy handle in the multi handle when its transfer is finished, instead of taking it out before
 * `done`. A connection of CURLOPT_CONNECT_ONLY needs this: it ends when the handle is taken out. In `done`,
 * and later, use curl_easy_send, curl_easy_recv or curl_ws_send with it, and a handler of the socket of
 * CURLINFO_ACTIVESOCKET. Take the handle out by curl_multi_remove_handle. To be called before each transfer
 * is added. Returns 0 if there is no memory left. */
static inline int oneloop_curl_keep(struct oneloop_curl *curl, CURL *easy) {
    struct oneloop_curl_kept *kept = (struct oneloop_curl_kept *)malloc(sizeof *kept);
    if (!kept)
        return 0;
    kept->easy = easy;
    kept->next = curl->kept;
    curl->kept = kept;
    return 1;
}

/* Whether a finished handle is to be kept, for this one time. */
static inline int oneloop_curl_is_kept(struct oneloop_curl *curl, CURL *easy) {
    struct oneloop_curl_kept **place = &curl->kept, *found;
    while (*place && (*place)->easy != easy)
        place = &(*place)->next;
    if (!(found = *place))
        return 0;
    *place = found->next;
    free(found);
    return 1;
}

/* Calls libcurl, and hands out what is finished. */
static inline void oneloop_curl_action(struct oneloop_curl *curl, curl_socket_t fd, int events) {
    int left;
    CURLMsg *message;
    CURLMcode called;
    if (!curl->multi)
        return; /* closed inside the turn in which it was ready */
    called = curl_multi_socket_action(curl->multi, fd, events, &left);
    if (called != CURLM_OK)
        oneloop_report_error(curl->loop, "libcurl", curl_multi_strerror(called));
    while (curl->multi && (message = curl_multi_info_read(curl->multi, &left))) {
        /* It goes with its easy handle. */
        CURL *easy = message->easy_handle;
        CURLcode result = message->data.result;
        if (message->msg != CURLMSG_DONE)
            continue;
        if (!oneloop_curl_is_kept(curl, easy))
            curl_multi_remove_handle(curl->multi, easy);
        curl->done(curl, easy, result, curl->user);
    }
}

static inline int oneloop_curl_ready(oneloop_t *loop, oneloop_id id, int fd, uint32_t ready,
                                     void *user) {
    (void)loop, (void)id;
    oneloop_curl_action(((struct oneloop_curl_socket *)user)->curl, fd,
                        (ready & (ONELOOP_READABLE | ONELOOP_HANGUP) ? CURL_CSELECT_IN : 0) |
                            (ready & ONELOOP_WRITABLE ? CURL_CSELECT_OUT : 0) |
                            (ready & ONELOOP_ERROR ? CURL_CSELECT_ERR : 0));
    return ONELOOP_CONTINUE;
}

static inline void oneloop_curl_forget(struct oneloop_curl_socket *socket) {
    *socket->place = socket->next;
    if (socket->next)
        socket->next->place = socket->place;
    socket->place = NULL;
    if (socket->gone)
        free(socket);
    else /* which frees it */
        oneloop_remove_handler(socket->curl->loop, socket->id);
}

static inline void oneloop_curl_socket_gone(void *user) {
    struct oneloop_curl_socket *socket = (struct oneloop_curl_socket *)user;
    socket->gone = 1;
    if (!socket->place)
        free(socket);
}

static inline int oneloop_curl_watch(CURL *easy, curl_socket_t fd, int what, void *user,
                                      void *known) {
    struct oneloop_curl *curl = (struct oneloop_curl *)user;
    struct oneloop_curl_socket *socket = (struct oneloop_curl_socket *)known;
    uint32_t interest = (what & CURL_POLL_IN ? ONELOOP_READABLE : 0) |
                        (what & CURL_POLL_OUT ? ONELOOP_WRITABLE : 0);
    (void)easy;
    if (curl->gone && what != CURL_POLL_REMOVE)
        return 0; /* nothing will happen */
    if (what != CURL_POLL_REMOVE && socket &&
        oneloop_update_handler(curl->loop, socket->id, interest) == 0)
        return 0;
    /* Removed; or closed meanwhile, and another opened under its number. */
    if (socket) {
        curl_multi_assign(curl->multi, fd, NULL);
        oneloop_curl_forget(socket);
    }
    if (what == CURL_POLL_REMOVE)
        return 0;
    if (!(socket = (struct oneloop_curl_socket *)calloc(1, sizeof *socket)))
        return -1;
    socket->curl = curl;
    if (oneloop_add_handler(curl->loop, fd, interest, ONELOOP_LEVEL, oneloop_curl_ready, socket,
                            oneloop_curl_socket_gone, &socket->id) < 0) {
        free(socket);
        return -1; /* ends all transfers */
    }
    socket->next = curl->sockets;
    socket->place = &curl->sockets;
    if (socket->next)
        socket->next->place = &socket->next;
    curl->sockets = socket;
    curl_multi_assign(curl->multi, fd, socket);
    return 0;
}

static inline void oneloop_curl_expired(oneloop_t *loop, oneloop_id id, void *user) {
    (void)loop, (void)id;
    oneloop_curl_action((struct oneloop_curl *)user, CURL_SOCKET_TIMEOUT, 0);
}

/* After no time is in the next turn, never in here, where libcurl cannot be called. */
static inline int oneloop_curl_timer(CURLM *multi, long milliseconds, void *user) {
    struct oneloop_curl *curl = (struct oneloop_curl *)user;
    int64_t delay = ONELOOP_NEVER;
    (void)multi;
    if (curl->gone)
        return 0;
    if (milliseconds >= 0 && milliseconds < ONELOOP_NEVER / 1000000)
        delay = milliseconds * (int64_t)1000000;
    return oneloop_reset_timer(curl->loop, curl->timer, delay) < 0 ? -1 : 0;
}

static inline void oneloop_curl_gone(void *user) {
    struct oneloop_curl *curl = (struct oneloop_curl *)user;
    curl->gone = 1;
    if (!curl->multi)
        free(curl);
}

/* Takes libcurl off the loop, before curl_multi_cleanup(). Transfers under way stay where they are. To be
 * called once, before the loop ends or after. */
static inline void oneloop_curl_detach(struct oneloop_curl *curl) {
    curl_multi_setopt(curl->multi, CURLMOPT_SOCKETFUNCTION, NULL);
    curl_multi_setopt(curl->multi, CURLMOPT_TIMERFUNCTION, NULL);
    curl->multi = NULL;
    while (curl->sockets)
        oneloop_curl_forget(curl->sockets);
    while (curl->kept)
        oneloop_curl_is_kept(curl, curl->kept->easy);
    if (curl->gone)
        free(curl);
    else /* which frees it */
        oneloop_cancel_timer(curl->loop, curl->timer);
}

/* Puts a multi handle on a loop, before there are easy handles in it. NULL if there is no memory, or
 * the loop is closed. */
static inline struct oneloop_curl *
oneloop_curl_attach(oneloop_t *loop, CURLM *multi,
                    void (*done)(struct oneloop_curl *curl, CURL *easy, CURLcode result,
                                 void *user),
                    void *user) {
    struct oneloop_curl *curl = (struct oneloop_curl *)calloc(1, sizeof *curl);
    if (!curl)
        return NULL;
    curl->loop = loop;
    curl->multi = multi;
    curl->done = done;
    curl->user = user;
    if (oneloop_add_timer(loop, ONELOOP_NEVER, 0, oneloop_curl_expired, curl, oneloop_curl_gone,
                        &curl->timer) < 0) {
        free(curl);
        return NULL;
    }
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, oneloop_curl_watch);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, curl);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, oneloop_curl_timer);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, curl);
    return curl;
}

#endif
