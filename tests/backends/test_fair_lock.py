"""The lock that is handed on in the order of asking."""

from __future__ import annotations

import inspect
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

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
        had += lock.acquire(30)
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


class Interrupted(BaseException):
    """What the handler of a signal raises."""


@contextmanager
def interrupted(lock: FairLock, first: Callable[[], None] = lambda: None) -> Iterator[None]:
    """
    Send the main thread a signal when it waits for *lock*; its handler does *first*, and raises.
    """

    def handle(*_: object) -> None:
        first()
        raise Interrupted

    main = threading.main_thread().ident
    assert main == threading.get_ident()
    lines, start = inspect.getsourcelines(FairLock.acquire)
    (waits,) = (
        start + number for number, line in enumerate(lines) if "turn.acquire(timeout" in line
    )

    def is_waiting() -> bool:
        frame = sys._current_frames()[main]
        return frame.f_code is FairLock.acquire.__code__ and frame.f_lineno == waits

    def send() -> None:
        _wait_for(is_waiting)
        signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handle)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        sender.join(30)
        signal.signal(signal.SIGUSR1, before)


def test_a_wait_that_a_signal_ends_leaves_the_queue() -> None:
    lock = FairLock()
    assert lock.try_acquire()
    with interrupted(lock), pytest.raises(Interrupted):
        lock.acquire(30)
    assert not lock._waiting
    assert not lock.try_acquire()  # whoever had it has it still
    lock.release()
    assert lock.try_acquire()


def test_a_lock_handed_on_to_a_wait_that_a_signal_ends_goes_on_to_the_next() -> None:
    lock = FairLock()
    assert lock.try_acquire()
    had: list[bool] = []
    other = threading.Thread(target=lambda: had.append(lock.acquire(30)))

    def hand_on() -> None:
        other.start()
        _wait_for(lambda: len(lock._waiting) == 2)
        lock.release()  # to the main thread, which the handler of the signal takes from its wait

    with interrupted(lock, hand_on), pytest.raises(Interrupted):
        lock.acquire(30)
    other.join(30)
    assert had == [True]
    assert not lock.try_acquire()
    lock.release()
    assert lock.try_acquire()
