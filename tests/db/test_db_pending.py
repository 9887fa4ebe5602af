"""What waits to be written keeps its order, and what was given up never comes back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from perp_bot.core.errors import StoreFull
from perp_bot.data.db.pending import LAST_RETRY_S, Failure, Pending, Phase, Unit, Waiter
from perp_bot.data.db.rows import StateRow


def unit(name: str, waiter: Waiter = Waiter.NOBODY) -> Unit:
    return Unit((StateRow(name, 0, 0),), waiter)


def names(pending: Pending) -> list[str]:
    return [waiting.rows[0].key for waiting in pending.queue]  # type: ignore[union-attr]


def test_a_commit_given_up_at_the_disk_is_not_tried_again_when_the_disk_refused() -> None:
    """Its caller was told that it may be there; tried again it could still land hours later."""
    pending = Pending(100)
    for waiting in (unit("a"), unit("b", Waiter.COMMIT), unit("c")):
        pending.add(waiting)
    batch = pending.take(10)
    assert [waiting.waiter for waiting in batch] == [Waiter.NOBODY, Waiter.COMMIT]  # ends with who waits
    batch[1].phase, batch[1].is_abandoned = Phase.COMMITTING, True
    pending.give_back(batch)
    assert names(pending) == ["a", "c"]
    assert pending.rows == 2


def test_failing_the_waiting_keeps_the_rest_in_order() -> None:
    """A full disk is told to every commit; plain rows stay."""
    pending = Pending(100)
    commits = [unit("b", Waiter.COMMIT), unit("d", Waiter.COMMIT)]
    for waiting in (unit("a"), commits[0], unit("c"), commits[1]):
        pending.add(waiting)
    pending.fail_waiting(StoreFull("full"), (Waiter.COMMIT,))
    assert names(pending) == ["a", "c"]
    assert pending.rows == 2
    assert all(isinstance(c.error, StoreFull) and c.phase is Phase.FAILED for c in commits)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["put", "commit", "withdraw", "take and give back", "write"]), max_size=60))
def test_what_is_written_is_what_was_handed_over_less_what_was_withdrawn(actions: list[str]) -> None:
    """Under any sequence: in order, each once, nothing withdrawn, and the count of rows is right."""
    pending = Pending(10**6)
    handed: list[Unit] = []
    written: list[Unit] = []
    for number, action in enumerate(actions):
        if action in ("put", "commit"):
            handed.append(unit(str(number), Waiter.COMMIT if action == "commit" else Waiter.NOBODY))
            pending.add(handed[-1])
        elif action == "withdraw":
            queued = [waiting for waiting in pending.queue if waiting.waiter is Waiter.COMMIT]
            if queued:
                pending.withdraw(queued[-1])
        else:
            batch = pending.take(3)
            if action == "write":
                for waiting in batch:
                    pending.rows -= waiting.weight
                    waiting.settle(Phase.DONE)
                written += batch
            else:
                if batch and batch[-1].waiter is Waiter.COMMIT and number % 2:
                    pending.withdraw(batch[-1])  # given up while its transaction was open
                pending.give_back(batch)
    left = [waiting for waiting in handed if waiting.phase is Phase.QUEUED]
    assert written + left == [waiting for waiting in handed if waiting.phase is not Phase.WITHDRAWN]
    assert pending.rows == len(left)


def test_the_pause_doubles_up_to_its_limit() -> None:
    """A disk that stays full is not hammered, and a cleared one is noticed within seconds."""
    failure = Failure(0.0, StoreFull("full"))
    assert [failure.next_pause_s() for _ in range(8)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, LAST_RETRY_S, LAST_RETRY_S]
