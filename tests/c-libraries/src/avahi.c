/* Avahi's table: a service that is published and found by a real daemon, and the contract without. */

#define _GNU_SOURCE
#include "oneloop-avahi.h"

#include <avahi-client/client.h>
#include <avahi-client/lookup.h>
#include <avahi-client/publish.h>
#include <avahi-common/error.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

#define TYPE "_oneloop._tcp"

static _Thread_local struct {
    int daemon;
    char name[50];
    oneloop_t *loop;
    pthread_t thread;
    AvahiPoll *poll;
    AvahiClient *client;
    AvahiEntryGroup *group;
    AvahiServiceBrowser *browser;
    int established, found, failed;
    /* Of the contract. */
    int depth, fired, again, read, wrote, hangups, over;
    int ends[2], closed[2], pipe[2], slow;
    struct timeval due;
    AvahiTimeout *timer, *never;
    AvahiWatch *in, *out, *hup, *other, *part;
} t;

/* The daemon is found by what the environment says of the bus. */
void avahi_test_daemon(const char *bus, int pid) {
    static int tests;
    memset(&t, 0, sizeof t);
    t.daemon = pid;
    snprintf(t.name, sizeof t.name, "test %d of %d", ++tests, getpid());
    if (bus)
        setenv("DBUS_SYSTEM_BUS_ADDRESS", bus, 1);
}

static void here(void) { check_thread(t.thread); }

static void begin(oneloop_t *loop) {
    t.loop = loop;
    t.thread = pthread_self();
    t.poll = oneloop_avahi_new(loop);
    CHECK(t.poll);
}

static void finish(void) {
    oneloop_avahi_free(t.poll);
    oneloop_stop(t.loop);
}

static void is_found(void) {
    if (!t.established || !t.found || t.failed)
        return;
    /* Which the daemon hears of, and dies of in the other test. */
    if (t.daemon) {
        CHECK(kill(t.daemon, SIGKILL) == 0);
        t.daemon = 0;
        t.failed = -1;
        return;
    }
    t.failed = -1;
    avahi_client_free(t.client); /* with all that belongs to it */
    finish();
}

static void group_changed(AvahiEntryGroup *group, AvahiEntryGroupState state, void *user) {
    (void)group, (void)user;
    here();
    CHECK(state != AVAHI_ENTRY_GROUP_FAILURE && state != AVAHI_ENTRY_GROUP_COLLISION);
    if (state == AVAHI_ENTRY_GROUP_ESTABLISHED) {
        t.established++;
        is_found();
    }
}

static void browsed(AvahiServiceBrowser *browser, AvahiIfIndex interface, AvahiProtocol protocol,
                    AvahiBrowserEvent event, const char *name, const char *type,
                    const char *domain, AvahiLookupResultFlags flags, void *user) {
    (void)browser, (void)interface, (void)protocol, (void)domain, (void)flags, (void)user;
    here();
    if (event == AVAHI_BROWSER_NEW && strcmp(name, t.name) == 0) {
        CHECK(strcmp(type, TYPE) == 0);
        t.found++;
        is_found();
    }
}

static void client_changed(AvahiClient *client, AvahiClientState state, void *user) {
    (void)user;
    here();
    if (state == AVAHI_CLIENT_S_RUNNING) {
        t.group = avahi_entry_group_new(client, group_changed, NULL);
        CHECK(avahi_entry_group_add_service(t.group, AVAHI_IF_UNSPEC, AVAHI_PROTO_UNSPEC, 0, t.name,
                                            TYPE, NULL, NULL, 4711, NULL) == 0);
        CHECK(avahi_entry_group_commit(t.group) == 0);
        t.browser = avahi_service_browser_new(client, AVAHI_IF_UNSPEC, AVAHI_PROTO_UNSPEC, TYPE,
                                              NULL, 0, browsed, NULL);
        CHECK(t.browser);
    } else if (state == AVAHI_CLIENT_FAILURE && t.failed == -1) {
        CHECK(avahi_client_errno(client) == AVAHI_ERR_DISCONNECTED);
        t.failed = 1;
        avahi_client_free(client);
        finish();
    } else if (state == AVAHI_CLIENT_FAILURE) {
        CHECK(!"connected");
        oneloop_stop(t.loop);
    }
}

/* If the daemon's number is known, it is killed in the middle. */
int test_avahi_publishes_and_browses(oneloop_t *loop) {
    int error = 0;
    begin(loop);
    t.client = avahi_client_new(t.poll, 0, client_changed, NULL, &error);
    if (!t.client)
        fprintf(stderr, "%s\n", avahi_strerror(error));
    CHECK(t.client);
    return check_failures();
}

/* The contract. */

static void is_over(void) {
    if (t.fired < 5 || t.again < 3 || t.read < 3 || t.wrote < 3 || !t.hangups || t.over++)
        return;
    t.poll->timeout_free(t.timer);
    t.poll->timeout_free(t.never);
    t.poll->watch_free(t.in);
    t.poll->watch_free(t.out);
    t.poll->watch_free(t.part);
    close(t.pipe[0]);
    close(t.pipe[1]);
    close(t.ends[0]);
    close(t.ends[1]);
    close(t.closed[0]);
    finish();
}

static void due(AvahiTimeout *timeout, void *user) {
    struct timeval now, later = {0, 2000};
    CHECK(user == &t);
    here();
    CHECK(timeout == t.timer && t.depth++ == 0);
    gettimeofday(&now, NULL);
    CHECK(timercmp(&now, &t.due, >=));
    if (t.fired < 5) {
        t.fired++;
        timeradd(&now, &later, &t.due);
        t.poll->timeout_update(timeout, &t.due);
    } else if (t.again < 3 || t.read < 3) {
        /* As soon as possible, not at once; and others have their turn, as they had before. */
        CHECK(t.slow == 3);
        t.again++;
        timerclear(&t.due);
        t.poll->timeout_update(timeout, &t.due);
        CHECK(write(t.ends[1], "x", 1) == 1);
    }
    t.depth--;
    is_over();
}

static void not_due(AvahiTimeout *timeout, void *user) {
    (void)timeout, (void)user;
    CHECK(!"switched off");
}

static void once(AvahiTimeout *timeout, void *user) {
    (void)user;
    t.poll->timeout_free(timeout);
}

static void in(AvahiWatch *watch, int fd, AvahiWatchEvent events, void *user) {
    char byte;
    CHECK(user == &t);
    here();
    CHECK(watch == t.in && fd == t.ends[0] && events == AVAHI_WATCH_IN);
    CHECK(t.poll->watch_get_events(watch) == AVAHI_WATCH_IN);
    CHECK(t.poll->watch_get_events(t.out) == 0);
    t.poll->watch_update(watch, (AvahiWatchEvent)0);
    CHECK(read(fd, &byte, 1) == 1);
    t.poll->watch_update(watch, AVAHI_WATCH_IN);
    t.read++;
    if (t.other) {
        t.poll->watch_free(t.other);
        t.other = NULL;
    }
    is_over();
}

/* Reads a part of what is there, and does nothing else: the rest shows again. */
static void in_part(AvahiWatch *watch, int fd, AvahiWatchEvent events, void *user) {
    char byte;
    (void)user;
    CHECK(watch == t.part && events == AVAHI_WATCH_IN);
    CHECK(read(fd, &byte, 1) == 1);
    t.slow++;
}

/* Two are on the descriptor; this one is freed in its own callback, and made again. */
static void out(AvahiWatch *watch, int fd, AvahiWatchEvent events, void *user) {
    CHECK(watch == t.out && fd == t.ends[0] && events == AVAHI_WATCH_OUT);
    if (++t.wrote < 3) {
        t.poll->watch_free(watch);
        t.out = t.poll->watch_new(t.poll, fd, AVAHI_WATCH_OUT, out, user);
    } else {
        t.poll->watch_update(watch, (AvahiWatchEvent)0);
    }
    is_over();
}

static void hung_up(AvahiWatch *watch, int fd, AvahiWatchEvent events, void *user) {
    (void)fd, (void)user;
    CHECK(watch == t.hup && events & AVAHI_WATCH_HUP);
    CHECK(t.poll->watch_get_events(watch) == events);
    t.hangups++;
    t.poll->watch_free(watch);
    is_over();
}

static void never(AvahiWatch *watch, int fd, AvahiWatchEvent events, void *user) {
    (void)watch, (void)fd, (void)events, (void)user;
    CHECK(!"paused");
}

int test_avahi_contract(oneloop_t *loop) {
    const AvahiPoll *poll;
    struct timeval zero = {0, 0};
    begin(loop);
    poll = t.poll;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, t.ends) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, t.closed) == 0);
    CHECK(pipe(t.pipe) == 0);
    CHECK(write(t.ends[1], "abc", 3) == 3 && write(t.pipe[1], "abc", 3) == 3);
    gettimeofday(&t.due, NULL);
    t.timer = poll->timeout_new(poll, &t.due, due, &t);
    t.never = poll->timeout_new(poll, NULL, not_due, NULL);
    CHECK(poll->timeout_new(poll, &zero, once, NULL));
    t.in = poll->watch_new(poll, t.ends[0], AVAHI_WATCH_IN, in, &t);
    t.out = poll->watch_new(poll, t.ends[0], AVAHI_WATCH_OUT, out, &t);
    t.other = poll->watch_new(poll, t.ends[1], (AvahiWatchEvent)0, never, NULL);
    t.part = poll->watch_new(poll, t.pipe[0], AVAHI_WATCH_IN, in_part, NULL);
    t.hup = poll->watch_new(poll, t.closed[0], AVAHI_WATCH_HUP, hung_up, NULL);
    close(t.closed[1]);
    CHECK(!poll->watch_new(poll, -1, AVAHI_WATCH_IN, never, NULL));
    return check_failures();
}
