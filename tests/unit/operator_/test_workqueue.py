import threading

from tunecast_operator.runtime.workqueue import Item, WorkQueue

A, B = Item("K", "n", "a"), Item("K", "n", "b")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def queue(clock: Clock) -> WorkQueue:
    return WorkQueue(clock=clock, jitter=lambda: 1.0, base=1.0, ceiling=8.0)


def test_an_item_is_processed_once_however_often_it_was_enqueued() -> None:
    work = queue(Clock())
    for _ in range(3):
        work.add(A)
    assert work.get() == A
    work.done(A)
    assert len(work) == 0


def test_the_earliest_due_time_counts() -> None:
    clock = Clock()
    work = queue(clock)
    work.add(A, after=10)
    work.add(A, after=1)
    clock.now = 1
    assert work.get() == A


def test_an_item_enqueued_while_it_is_processed_runs_once_more_and_never_concurrently() -> None:
    work = queue(Clock())
    work.add(A)
    assert work.get() == A
    work.add(A)
    work.add(B)
    assert work.get() == B, "A is being worked on"
    work.done(A)
    assert work.get() == A


def test_backoff_doubles_up_to_its_ceiling_and_ends_with_a_success() -> None:
    work = queue(Clock())
    assert [work.retry(A) for _ in range(5)] == [1, 2, 4, 8, 8]
    work.forget(A)
    assert work.retry(A) == 1


def test_close_ends_every_waiting_worker() -> None:
    work = WorkQueue()
    ended = [threading.Thread(target=work.get) for _ in range(3)]
    for thread in ended:
        thread.start()
    work.close()
    for thread in ended:
        thread.join(5)
    assert not any(thread.is_alive() for thread in ended)


def test_an_enqueued_item_wakes_a_worker_that_waits_for_a_later_one() -> None:
    work = WorkQueue()
    work.add(A, after=3600)
    taken: list[Item | None] = []
    worker = threading.Thread(target=lambda: taken.append(work.get()))
    worker.start()
    work.add(B)
    worker.join(5)
    assert taken == [B]


def test_what_is_only_due_later_is_no_backlog() -> None:
    clock = Clock()
    work = queue(clock)
    work.add(A)
    work.add(B, after=600)
    assert (len(work), work.backlog) == (2, 1)
    assert work.get() == A
    assert work.backlog == 1
    work.done(A)
    assert work.backlog == 0
    clock.now = 600
    assert work.backlog == 1
