"""The lock that is handed on in the order of asking."""

from __future__ import annotations

import threading

from rpcguard.backends.fair_lock import FairLock


def _wait_for(condition) -> None:
    """Wait until *condition* holds; the test's own timeout ends it otherwise."""
    while not condition():
        threading.Event().wait(0.001)


def test_one_has_it_at_a_time() -> None:
    lock = FairLock()
    assert lock.try_acquire()
    assert not lock.try_acquire()
    assert not lock.acquire(0.01)
    lock.release()
    assert lock.acquire(0.01)
    lock.release()
    assert lock.try_acquire()


def test_it_goes_to_the_one_who_asked_first_and_not_to_the_one_who_comes_by() -> None:
    lock = FairLock()
    assert lock.try_acquire()
    order: list[int] = []

    def wait(number: int) -> None:
        assert lock.acquire(30)
        order.append(number)
        lock.release()

    threads = []
    for number in range(8):
        threads.append(threading.Thread(target=wait, args=(number,)))
        threads[-1].start()
        _wait_for(lambda: len(lock._waiting) == len(threads))
    lock.release()
    for thread in threads:
        thread.join(30)
    assert order == list(range(8))


def test_a_thread_that_takes_it_again_and_again_starves_nobody() -> None:
    lock = FairLock()
    stop = threading.Event()

    def hog() -> None:
        while not stop.is_set():
            assert lock.acquire(30)
            lock.release()

    hogs = [threading.Thread(target=hog) for _ in range(3)]
    for thread in hogs:
        thread.start()
    had = 0
    for _ in range(200):
        had += lock.acquire(5)
        lock.release()
    stop.set()
    for thread in hogs:
        thread.join(30)
    assert had == 200


def test_who_has_given_up_is_not_handed_the_lock() -> None:
    lock = FairLock()
    assert lock.try_acquire()
    assert not lock.acquire(0.001)
    lock.release()
    assert lock.try_acquire()


def test_a_lock_handed_on_just_after_the_wait_had_ended_is_kept() -> None:
    lock = FairLock()
    for _ in range(300):  # the release comes at about the time at which the wait ends
        assert lock.try_acquire()
        releasing = threading.Timer(0.001, lock.release)
        releasing.start()
        had = lock.acquire(0.001)
        releasing.join(30)
        if had:
            lock.release()
        assert lock.try_acquire()  # whichever came first, it is free now
        lock.release()
