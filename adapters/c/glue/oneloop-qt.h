/* A oneloop loop inside Qt, which drives it: the program's main loop is QCoreApplication::exec(). In C++, for Qt 5 and 6.
 *
 *   QApplication application(argc, argv);
 *   auto ended = [](oneloop_qt *, int error) {
 *       if (error)
 *           qWarning("%s", oneloop_strerror());
 *       QCoreApplication::quit();
 *   };
 *   if (!oneloop_qt_attach(loop, 0, ended, nullptr))
 *       qWarning("%s", oneloop_strerror());
 *   return application.exec();
 *
 * Qt calls the loop's callbacks from then on. Code outside of the loop's callbacks may use the loop as well. If a
 * callback of the loop's opens a modal dialogue, the loop waits until that is closed. A slot of Qt's may open one.
 *
 * Threads: all of it on the thread of the application, or of a QThread that runs an event loop. Other threads may
 * use oneloop_call_soon().
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef ONELOOP_QT_H
#define ONELOOP_QT_H

#include <QAbstractEventDispatcher>
#include <QSocketNotifier>
#include <QTimer>
#include <oneloop.h>

struct oneloop_qt {
    oneloop_t *loop;
    void *user;
    /* Called once, unless it was detached before: 0 after oneloop_stop(), or a negative errno, for which
     * oneloop_strerror() has the text. Another driver can continue from there. The struct is freed
     * afterwards. */
    void (*ended)(oneloop_qt *on, int error);
    /* Private. */
    QSocketNotifier *watch;
    QTimer *again;
    bool watching, stepping, detached;
};

static inline void oneloop_qt_finish(oneloop_qt *on, int error) {
    on->watch->setEnabled(false);
    on->again->stop();
    /* One of them may be what has called. */
    on->watch->deleteLater();
    on->again->deleteLater();
    oneloop_host_end(on->loop);
    if (!on->detached && on->ended)
        on->ended(on, error);
    oneloop_free(on->loop);
    delete on;
}

static inline void oneloop_qt_step(oneloop_qt *on) {
    int step;
    if (on->stepping) { /* A callback of the loop's runs Qt, which would call again and again. */
        on->watch->setEnabled(false);
        return;
    }
    on->stepping = true;
    do {
        step = oneloop_step(on->loop, 100);
        if (step == ONELOOP_STEP_WATCH || step == ONELOOP_STEP_UNWATCH)
            on->watching = step == ONELOOP_STEP_WATCH;
        on->watch->setEnabled(on->watching);
    } while ((step == ONELOOP_STEP_WATCH || step == ONELOOP_STEP_UNWATCH) && !on->detached);
    on->stepping = false;
    if (on->detached || step < 0 || step == ONELOOP_STEP_DONE)
        oneloop_qt_finish(on, step < 0 ? step : 0);
    else if (step == ONELOOP_STEP_YIELD && !on->watching)
        on->again->start();
}

/* Takes the loop off Qt, also inside a callback. `ended` is not called. Not to be called after `ended`. */
static inline void oneloop_qt_detach(oneloop_qt *on) {
    on->detached = true;
    if (!on->stepping)
        oneloop_qt_finish(on, 0);
}

/* Has the event loop of this thread drive a loop. `flags` is 0 or ONELOOP_HOST_EXIT_WHEN_EMPTY. Returns NULL if the loop
 * has another driver or is closed, or if the thread has no event loop: the QApplication comes first. */
static inline oneloop_qt *oneloop_qt_attach(oneloop_t *loop, uint32_t flags,
                                            void (*ended)(oneloop_qt *on, int error), void *user) {
    int fd = QAbstractEventDispatcher::instance() ? oneloop_host_begin(loop, flags) : -1;
    if (fd < 0)
        return nullptr;
    oneloop_qt *on = new oneloop_qt{oneloop_hold(loop), user, ended, nullptr, nullptr, false, false, false};
    on->watch = new QSocketNotifier(fd, QSocketNotifier::Read);
    on->watch->setEnabled(false);
    on->again = new QTimer;
    on->again->setSingleShot(true); /* After no time. */
    QObject::connect(on->watch, &QSocketNotifier::activated, [on] { oneloop_qt_step(on); });
    QObject::connect(on->again, &QTimer::timeout, [on] { oneloop_qt_step(on); });
    on->again->start();
    return on;
}

#endif
