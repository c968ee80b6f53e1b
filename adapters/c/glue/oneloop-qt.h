/* A oneloop loop inside Qt, which drives it: the program's main loop is QCoreApplication::exec(). In C++, for Qt 5 and 6.
 *
 *   QApplication application(argc, argv);
 *   auto ended = [](oneloop_attached *, int error) {
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
 * oneloop_detach() takes the loop off Qt.
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
#include <oneloop-attached.h>

struct oneloop_qt {
    oneloop_attached on;
    QSocketNotifier *watch;
    QTimer *again;
};

static inline int oneloop_qt_watch(oneloop_attached *on) {
    reinterpret_cast<oneloop_qt *>(on)->watch->setEnabled(true);
    return 0;
}

static inline void oneloop_qt_unwatch(oneloop_attached *on) {
    reinterpret_cast<oneloop_qt *>(on)->watch->setEnabled(false);
}

static inline int oneloop_qt_again(oneloop_attached *on) {
    reinterpret_cast<oneloop_qt *>(on)->again->start();
    return 0;
}

static inline void oneloop_qt_release(oneloop_attached *on) {
    oneloop_qt *it = reinterpret_cast<oneloop_qt *>(on);
    it->watch->setEnabled(false);
    it->again->stop();
    /* One of them may be what has called. */
    it->watch->deleteLater();
    it->again->deleteLater();
}

/* Has the event loop of this thread drive a loop. `flags` is 0 or ONELOOP_HOST_EXIT_WHEN_EMPTY. Returns NULL if the loop
 * has another driver or is closed, or if the thread has no event loop: the QApplication comes first. */
static inline oneloop_attached *oneloop_qt_attach(oneloop_t *loop, uint32_t flags,
                                                  void (*ended)(oneloop_attached *on, int error), void *user) {
    static const oneloop_outer outer = {oneloop_qt_watch, oneloop_qt_unwatch, oneloop_qt_again, oneloop_qt_release};
    oneloop_attached *on = nullptr;
    if (QAbstractEventDispatcher::instance())
        on = oneloop_attached_new(sizeof(oneloop_qt), &outer, loop, flags, ended, user);
    if (!on)
        return nullptr;
    oneloop_qt *it = reinterpret_cast<oneloop_qt *>(on);
    it->watch = new QSocketNotifier(on->fd, QSocketNotifier::Read);
    it->watch->setEnabled(false);
    it->again = new QTimer;
    it->again->setSingleShot(true); /* After no time. */
    QObject::connect(it->watch, &QSocketNotifier::activated, [on] { oneloop_attached_step(on); });
    QObject::connect(it->again, &QTimer::timeout, [on] { oneloop_attached_step(on); });
    return oneloop_attached_begin(on, 0);
}

#endif
