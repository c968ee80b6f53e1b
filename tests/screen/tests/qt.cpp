// A program that uses oneloop-qt.h. `tests/more.sh windows` runs it, without a screen.

#include <QCoreApplication>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <oneloop-qt.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

static int failures;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

static oneloop_t *loop;
static oneloop_attached *on;
static int ends[2], ended, error;
static std::thread thread;

static void end(oneloop_attached *ending, int why) {
    CHECK(ending == on && ending->loop == loop && ending->user == &failures);
    ended++;
    error = why;
    QCoreApplication::quit();
}

static void attach(uint32_t flags = 0) {
    ended = error = 0;
    CHECK(on = oneloop_qt_attach(loop, flags, end, &failures));
}

static void post(void (*call)(oneloop_t *, void *)) {
    CHECK(oneloop_call_soon(loop, ONELOOP_NORMAL, call, nullptr, nullptr, nullptr) == 0);
}

static void stops(oneloop_t *loop, void *) { CHECK(oneloop_stop(loop) == 0); }

// A byte, whose handler sets a timer, whose callback starts a thread, which posts.

static void fired(oneloop_t *, oneloop_id, void *) {
    thread = std::thread([] { post(stops); });
}

static int readable(oneloop_t *loop, oneloop_id, int fd, uint32_t, void *) {
    char byte;
    CHECK(read(fd, &byte, 1) == 1);
    CHECK(oneloop_add_timer(loop, 1000000, 0, fired, nullptr, nullptr, nullptr) == 0);
    return ONELOOP_REMOVE;
}

static void events() {
    attach();
    CHECK(oneloop_add_handler(loop, ends[0], ONELOOP_READABLE, ONELOOP_LEVEL, readable, nullptr, nullptr, nullptr) == 0);
    // Once it sleeps.
    QTimer::singleShot(1, [] { CHECK(write(ends[1], "x", 1) == 1); });
    QCoreApplication::exec();
    CHECK(thread.joinable());
    thread.join();
    CHECK(ended == 1 && error == 0);
}

static int counted;

static void counts(oneloop_t *, void *) { counted++; }

// More than one step calls, before the loop has slept at all.
static void busy_from_the_beginning() {
    for (int n = 0; n < 1000; n++)
        post(counts);
    post(stops);
    attach();
    QCoreApplication::exec();
    CHECK(counted == 1000 && ended == 1);
}

static void two_hosts() {
    attach();
    CHECK(!oneloop_qt_attach(loop, 0, end, &failures));
    CHECK(strstr(oneloop_strerror(), "driven"));
    CHECK(oneloop_run(loop) == -EBUSY);
    oneloop_detach(on);
    CHECK(ended == 0 && oneloop_turn(loop, 0, nullptr) >= 0);
    // The timer of the first step was pending.
    QCoreApplication::processEvents();
}

static void detaches(oneloop_t *, void *) {
    oneloop_detach(on);
    QCoreApplication::quit();
}

static void detached_in_a_callback() {
    attach();
    post(detaches);
    QCoreApplication::exec();
    CHECK(ended == 0);
    post(stops);
    CHECK(oneloop_run(loop) == 0);
}

static int turns;

static void stops_later(oneloop_t *loop, oneloop_id, void *) { CHECK(oneloop_stop(loop) == 0); }

// As a dialogue does. Qt looks at the loop's descriptor, which is readable, once.
static int runs_qt(oneloop_t *loop, oneloop_id, int fd, uint32_t, void *) {
    char byte;
    QEventLoop dialogue;
    QTimer::singleShot(20, &dialogue, &QEventLoop::quit);
    auto counts = QObject::connect(QAbstractEventDispatcher::instance(), &QAbstractEventDispatcher::awake,
                                   [] { turns++; });
    dialogue.exec();
    QObject::disconnect(counts);
    CHECK(turns < 10);
    CHECK(oneloop_run(loop) == -EBUSY);
    CHECK(read(fd, &byte, 1) == 1);
    // Qt has to watch again to learn of it.
    CHECK(oneloop_add_timer(loop, 1000000, 0, stops_later, nullptr, nullptr, nullptr) == 0);
    return ONELOOP_REMOVE;
}

static void a_dialogue_in_a_callback() {
    attach();
    CHECK(oneloop_add_handler(loop, ends[0], ONELOOP_READABLE, ONELOOP_LEVEL, runs_qt, nullptr, nullptr, nullptr) == 0);
    QTimer::singleShot(1, [] { CHECK(write(ends[1], "x", 1) == 1); });
    QCoreApplication::exec();
    CHECK(turns > 0 && ended == 1 && error == 0);
}

static void closes(oneloop_t *loop, void *) { CHECK(oneloop_close(loop) == 0); }

static void closed() {
    attach();
    post(closes);
    QCoreApplication::exec();
    CHECK(ended == 1 && error == -ESHUTDOWN);
    CHECK(!oneloop_qt_attach(loop, 0, end, &failures));
    CHECK(strstr(oneloop_strerror(), "closed"));
    CHECK(!oneloop_qt_attach(nullptr, 0, end, &failures));
}

static void nothing(oneloop_t *, oneloop_id, void *) {}

static void empty() {
    CHECK(oneloop_add_timer(loop, 1000000, 0, nothing, nullptr, nullptr, nullptr) == 0);
    attach(ONELOOP_HOST_EXIT_WHEN_EMPTY);
    QCoreApplication::exec();
    CHECK(ended == 1 && error == 0);
}

int main(int argc, char **argv) {
    CHECK(loop = oneloop_new());
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    CHECK(!oneloop_qt_attach(loop, 0, end, &failures)); // There is no application yet.
    QCoreApplication application(argc, argv);
    events();
    busy_from_the_beginning();
    two_hosts();
    detached_in_a_callback();
    a_dialogue_in_a_callback();
    closed();
    oneloop_free(loop);
    CHECK(loop = oneloop_new());
    empty();
    oneloop_free(loop);
    return failures != 0;
}
