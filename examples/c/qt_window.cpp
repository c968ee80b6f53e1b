// A window of Qt, whose loop drives a oneloop loop: a handler that answers what a thread writes, a timer, and what the
// thread posts draw a bar each. All callbacks run on Qt's thread.
//
//   c++ -std=c++17 -fPIC -o qt_window qt_window.cpp $(pkg-config --cflags --libs oneloop Qt6Widgets)

#include <QApplication>
#include <QPainter>
#include <QWidget>
#include <cstdio>
#include <cstring>
#include <oneloop-qt.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

static const char HELP[] = "Usage: qt_window\n\nShows a window, until it is closed or the standard input ends.\n";

// The bars, from top to bottom, and the count at which one is full.
enum { READ, FIRED, POSTED, BARS };
static const QColor COLOURS[BARS] = {{224, 32, 48}, {32, 192, 64}, {64, 32, 240}};
static const int ENOUGH = 100;

struct Window : QWidget {
    int counts[BARS] = {}, complete = 0;

    // Each callback of the loop calls this.
    void add(int bar) {
        counts[bar] = qMin(counts[bar] + 1, ENOUGH);
        update();
    }

    void paintEvent(QPaintEvent *) override {
        QPainter painter(this);
        bool is_complete = true;
        painter.fillRect(rect(), Qt::white);
        for (int bar = 0; bar < BARS; bar++) {
            int top = height() * bar / BARS, bottom = height() * (bar + 1) / BARS;
            painter.fillRect(0, top, width() * counts[bar] / ENOUGH, bottom - top, COLOURS[bar]);
            is_complete = is_complete && counts[bar] == ENOUGH;
        }
        // Some frames later, it has reached the screen.
        if (is_complete && ++complete == 10)
            puts("complete"), fflush(stdout);
    }
};

static int readable(oneloop_t *, oneloop_id, int fd, uint32_t, void *window) {
    char byte;
    if (read(fd, &byte, 1) != 1 || write(fd, &byte, 1) != 1)
        return ONELOOP_REMOVE;
    static_cast<Window *>(window)->add(READ);
    return ONELOOP_CONTINUE;
}

static void fired(oneloop_t *, oneloop_id, void *window) { static_cast<Window *>(window)->add(FIRED); }

static void posted(oneloop_t *, void *window) { static_cast<Window *>(window)->add(POSTED); }

// A thread that asks, and tells the window of each answer.
static void ask(int fd, oneloop_t *loop, Window *window) {
    char byte = '?';
    while (send(fd, &byte, 1, MSG_NOSIGNAL) == 1 && read(fd, &byte, 1) == 1) {
        if (oneloop_call_soon(loop, ONELOOP_NORMAL, posted, window, nullptr, nullptr) < 0)
            break;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    close(fd);
}

static int input(oneloop_t *loop, oneloop_id, int fd, uint32_t, void *) {
    char bytes[64];
    if (read(fd, bytes, sizeof bytes) > 0)
        return ONELOOP_CONTINUE;
    oneloop_stop(loop);
    return ONELOOP_REMOVE;
}

static void ended(oneloop_attached *, int error) {
    if (error)
        fprintf(stderr, "%s\n", oneloop_strerror());
    QCoreApplication::exit(error ? 1 : 0);
}

static int failed() {
    fprintf(stderr, "%s\n", oneloop_strerror());
    return 1;
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "--help"))
        return fputs(HELP, stdout) < 0;
    QApplication application(argc, argv);
    Window window;
    oneloop_t *loop = oneloop_new();
    int ends[2];
    if (!loop || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return failed();
    if (oneloop_add_handler(loop, ends[0], ONELOOP_READABLE, ONELOOP_LEVEL, readable, &window, nullptr, nullptr) < 0 ||
        oneloop_add_timer(loop, 10000000, 10000000, fired, &window, nullptr, nullptr) < 0 ||
        oneloop_add_handler(loop, 0, ONELOOP_READABLE, ONELOOP_LEVEL, input, nullptr, nullptr, nullptr) < 0 ||
        !oneloop_qt_attach(loop, 0, ended, nullptr))
        return failed();
    std::thread thread(ask, ends[1], loop, &window);
    window.setWindowTitle("One thread");
    window.resize(480, 300);
    window.show();
    int code = application.exec();
    oneloop_close(loop);
    shutdown(ends[0], SHUT_RDWR); // The thread ends with it.
    thread.join();
    close(ends[0]);
    oneloop_free(loop);
    return code;
}
