"""An unknown outcome is settled rightly whatever happens in between: every interleaving of a small venue is walked."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perp_bot.execution.live.unknown import (
    QUIET_ROUNDS,
    Answer,
    AskFailed,
    AskFills,
    AskOpenOrders,
    AskOrder,
    Expired,
    Found,
    Never,
    Nonce,
    NoopAnswer,
    Seen,
    SendNoop,
    Settling,
    Step,
    Untraced,
    after,
    settling,
)
from perp_bot.execution.orders import IllegalTransition

A, B = "0x" + "a" * 32, "0x" + "b" * 32
NOTHING = Seen({})


def walked(state: Settling, *answers: Answer) -> Settling:
    for answer in answers:
        state = after(state, answer)
    return state


# ------------------------------------------------------------ by example


def test_an_order_that_landed_is_found_by_its_cloid() -> None:
    """The first question settles the common case: the answer was lost, the order was not."""
    state = settling((A,))
    assert state.step == AskOrder(A)
    done = after(state, Seen({A: "open"}))
    assert (done.step, done.verdicts) == (None, (Found(A, "open"),))


def test_nothing_known_leads_to_a_noop_and_one_more_question() -> None:
    """By cloid, open orders, fills; the noop is taken; asked once more; the order can never land."""
    state = settling((A,))
    steps: list[Step | None] = []
    for answer in (NOTHING, NOTHING, NOTHING, NoopAnswer.TAKEN, NOTHING):
        steps.append(state.step)
        state = after(state, answer)
    assert steps == [AskOrder(A), AskOpenOrders(), AskFills(), SendNoop(), AskOrder(A)]
    assert (state.step, state.verdicts) == (None, (Never(A),))


def test_a_spent_nonce_means_that_it_landed_and_it_is_looked_for_again() -> None:
    """Reads may lag: the order is found in the next round."""
    state = walked(settling((A,)), NOTHING, NOTHING, NOTHING, NoopAnswer.NONCE_SPENT)
    assert state.step == AskOrder(A)
    found = walked(state, NOTHING, NOTHING, Seen({A: "filled", B: "open"}))
    assert found.verdicts == (Found(A, "filled"),)


def test_a_spent_nonce_without_a_trace_is_never_sent_again() -> None:
    """Three whole rounds, then a verdict that allows nothing."""
    state = walked(settling((A,)), *[NOTHING] * 3, NoopAnswer.NONCE_SPENT, *[NOTHING] * 3 * QUIET_ROUNDS)
    assert (state.step, state.verdicts) == (None, (Untraced(A),))


def test_a_noop_without_an_answer_proves_nothing() -> None:
    """It may itself have spent the nonce: a later "nonce used" does not tell which of the two it was."""
    state = walked(settling((A,)), *[NOTHING] * 3, NoopAnswer.UNKNOWN)
    assert (state.step, state.nonce) == (AskOrder(A), Nonce.OPEN)
    state = walked(state, *[NOTHING] * 3)
    assert state.step == SendNoop()
    assert walked(state, NoopAnswer.TAKEN, NOTHING).verdicts == (Never(A),)
    assert walked(state, NoopAnswer.NONCE_SPENT, *[NOTHING] * 9).verdicts == (Untraced(A),)


def test_orders_of_one_action_share_its_nonce() -> None:
    """One that is seen proves that the action landed: no noop, and the other is looked for."""
    state = after(settling((A, B)), NOTHING)
    assert state.step == AskOrder(B)
    state = after(state, Seen({B: "open"}))
    assert (state.step, state.nonce) == (AskOpenOrders(), Nonce.LANDED)
    state = walked(state, *[NOTHING] * 2)
    assert state.step == AskOrder(A)
    assert walked(state, NOTHING, Seen({A: "open", B: "open"})).verdicts == (Found(A, "open"), Found(B, "open"))
    assert walked(state, *[NOTHING] * 6).verdicts == (Untraced(A), Found(B, "open"))


def test_a_failed_question_is_asked_again_and_told_when_it_goes_on() -> None:
    """Nothing is concluded from a failure."""
    state = settling((A,))
    assert not state.is_stuck
    state = walked(state, *[AskFailed()] * 3)
    assert (state.step, state.is_stuck) == (AskOrder(A), True)
    refused = walked(settling((A,)), *[NOTHING] * 3, NoopAnswer.REFUSED)
    assert (refused.step, refused.nonce, refused.setbacks) == (AskOrder(A), Nonce.OPEN, 1)


def test_an_expired_action_cannot_land_any_more() -> None:
    """Without any noop, should none get through; but having landed before is not disproved by it."""
    state = walked(settling((A,)), *[NOTHING] * 3, Expired())
    assert (state.step, state.nonce) == (AskOrder(A), Nonce.CLOSED)
    assert walked(state, Seen({A: "open"})).verdicts == (Found(A, "open"),)
    assert walked(state, *[NOTHING] * 9).verdicts == (Untraced(A),)
    burnt = walked(settling((A,)), *[NOTHING] * 3, NoopAnswer.TAKEN, Expired())
    assert after(burnt, NOTHING).verdicts == (Never(A),)


def test_an_order_that_is_seen_landed_whatever_a_noop_said() -> None:
    """The venue forgets the nonces of an agent that was replaced: that is why it is asked once more."""
    state = walked(settling((A, B)), *[NOTHING] * 4, NoopAnswer.TAKEN, Seen({A: "open"}))
    assert (state.step, state.nonce) == (AskOrder(B), Nonce.LANDED)
    assert walked(state, *[NOTHING] * 7).verdicts == (Found(A, "open"), Untraced(B))


@pytest.mark.parametrize(
    "answers",
    [
        (NoopAnswer.TAKEN,),
        (NOTHING, NOTHING, NOTHING, NOTHING),
        (NOTHING, NOTHING, NOTHING, AskFailed()),
        (Seen({A: "open"}), NOTHING),
        (Seen({A: "open"}), Expired()),
    ],
)
def test_an_answer_that_fits_no_step_raises(answers: tuple[Answer, ...]) -> None:
    """Like the order machine: what the table does not have is a fault."""
    with pytest.raises(IllegalTransition):
        walked(settling((A,)), *answers)


def test_there_is_no_verdict_before_the_end_and_nothing_to_settle_without_a_cloid() -> None:
    """A half-known outcome must not be read as one."""
    with pytest.raises(IllegalTransition, match="not settled yet"):
        _ = settling((A,)).verdicts
    with pytest.raises(IllegalTransition, match="client order ids"):
        settling(())


# ------------------------------------------------------------ every interleaving


class Owner(StrEnum):
    """Whose the nonce is at the venue."""

    NOBODY = "nobody"
    ACTION = "action"
    NOOP = "noop"


@dataclass(frozen=True)
class World:
    """The truth: who used the nonce, what is still under way, what reads show, and which orders left a record."""

    recorded: frozenset[str]  # orders of the action that the venue keeps if it takes it; the others are refused
    reads_lag: bool  # whether a record may appear in reads later than it exists
    owner: Owner = Owner.NOBODY
    action_under_way: bool = True
    noop_under_way: bool = False
    is_shown: bool = False
    is_expired: bool = False

    @property
    def shown(self) -> dict[str, str]:
        is_there = self.owner is Owner.ACTION and (self.is_shown or not self.reads_lag)
        return dict.fromkeys(self.recorded, "open") if is_there else {}

    def moved(self) -> Iterator[World]:
        """Return what may happen by itself: late arrivals, records that appear, the expiry."""
        free = self.owner is Owner.NOBODY and not self.is_expired
        if self.action_under_way:
            yield replace(self, action_under_way=False, owner=Owner.ACTION if free else self.owner)
        if self.noop_under_way:
            taken = Owner.NOOP if self.owner is Owner.NOBODY else self.owner
            yield replace(self, noop_under_way=False, owner=taken)
        if self.owner is Owner.ACTION and self.reads_lag and not self.is_shown:
            yield replace(self, is_shown=True)
        if not self.is_expired:
            yield replace(self, is_expired=True)

    def answers(self, step: Step) -> Iterator[tuple[World, Answer]]:
        """Return every answer that may come to a step, with the world after it."""
        if self.is_expired:
            yield self, Expired()
        if not isinstance(step, SendNoop):
            yield self, AskFailed()
            yield self, Seen(asked(step, self.shown))
            return
        taken = replace(self, owner=Owner.NOOP if self.owner is Owner.NOBODY else self.owner)
        said = NoopAnswer.TAKEN if self.owner is Owner.NOBODY else NoopAnswer.NONCE_SPENT
        yield taken, said
        yield taken, NoopAnswer.UNKNOWN  # done, and the answer lost
        yield replace(self, noop_under_way=True), NoopAnswer.UNKNOWN  # late, or lost on the way
        yield self, NoopAnswer.REFUSED


def asked(step: Step, shown: Mapping[str, str]) -> dict[str, str]:
    if isinstance(step, AskOrder):
        return {cloid: status for cloid, status in shown.items() if cloid == step.cloid}
    return dict(shown)


def reachable(cloids: tuple[str, ...], start: World) -> set[tuple[Settling, World]]:
    """Return every pair of machine and world that any interleaving leads to (setbacks are only counted, not used)."""
    first = (settling(cloids), start)
    seen, todo = {first}, deque([first])
    while todo:
        state, world = todo.popleft()
        following = [(state, other) for other in world.moved()]
        if state.step is not None:
            following += [
                (replace(after(state, answer), setbacks=0), other) for other, answer in world.answers(state.step)
            ]
        for pair in following:
            if pair not in seen:
                seen.add(pair)
                todo.append(pair)
    return seen


WORLDS = [
    (cloids, World(frozenset(recorded), reads_lag))
    for reads_lag in (False, True)
    for cloids, recorded in [
        ((A,), (A,)),
        ((A,), ()),
        ((A, B), (A, B)),
        ((A, B), (B,)),
        ((A, B), ()),
    ]
]
NAMES = [f"{len(w[1].recorded)} of {len(w[0])}{', reads lag' if w[1].reads_lag else ''}" for w in WORLDS]


@pytest.mark.parametrize(("cloids", "start"), WORLDS, ids=NAMES)
def test_no_interleaving_gives_a_wrong_verdict(cloids: tuple[str, ...], start: World) -> None:
    """Never: the nonce is the noop's. Found: it is recorded. Untraced: nothing more can land. Nothing else ends."""
    pairs = reachable(cloids, start)
    kinds = set()
    for state, world in pairs:
        if state.step is not None:
            continue
        for cloid, verdict in zip(cloids, state.verdicts, strict=True):
            kinds.add(type(verdict))
            assert verdict.cloid == cloid
            if isinstance(verdict, Never):
                assert world.owner is Owner.NOOP
            elif isinstance(verdict, Found):
                assert world.owner is Owner.ACTION
                assert cloid in world.recorded
            else:
                assert world.owner is not Owner.NOBODY or world.is_expired
                if not world.reads_lag:
                    assert world.owner is not Owner.ACTION or cloid not in world.recorded
    assert len(pairs) > 100
    assert Never in kinds
    assert Untraced in kinds
    assert (Found in kinds) == bool(start.recorded)


@pytest.mark.parametrize(("cloids", "start"), WORLDS, ids=NAMES)
def test_every_interleaving_ends_once_the_venue_answers(cloids: tuple[str, ...], start: World) -> None:
    """From whatever was reached, truthful answers lead to the end in a bounded number of steps."""
    bound = (QUIET_ROUNDS + 1) * (len(cloids) + 2) + 1 + len(cloids)
    for reached, truth in reachable(cloids, start):
        state, world = reached, truth
        steps = 0
        while state.step is not None:
            world, answer = next(
                (other, answer)
                for other, answer in world.answers(state.step)
                if not isinstance(answer, AskFailed | Expired)
            )
            state = after(state, answer)
            steps += 1
            assert steps <= bound


@pytest.mark.slow
def test_a_noop_goes_out_only_after_every_question_found_nothing() -> None:
    """In every interleaving: and never once the nonce is known to be spent, or an order was seen."""
    for cloids, start in WORLDS:
        for state, _ in reachable(cloids, start):
            if isinstance(state.step, SendNoop):
                assert (state.nonce, state.found, state.todo) == (Nonce.OPEN, (), (SendNoop(),))


answers = st.one_of(
    st.just(AskFailed()),
    st.dictionaries(st.sampled_from([A, B, "0x" + "c" * 32]), st.sampled_from(["open", "filled"])).map(Seen),
    st.sampled_from(NoopAnswer),
    st.just(Expired()),
)


@pytest.mark.slow
@given(st.lists(answers, max_size=60))
def test_answers_of_a_lying_venue_break_nothing(given_answers: list[Answer]) -> None:
    """Contradictions lead to a verdict or to the next step; an order that was seen once stays found."""
    state = settling((A, B))
    for answer in given_answers:
        fits = isinstance(answer, Expired) or isinstance(answer, NoopAnswer) == isinstance(state.step, SendNoop)
        if state.step is None or not fits:
            with pytest.raises(IllegalTransition):
                after(state, answer)
            continue
        before = state.found
        state = after(state, answer)
        assert state.found[: len(before)] == before
        assert len({item.cloid for item in state.found}) == len(state.found)
    if state.step is None:
        assert [verdict.cloid for verdict in state.verdicts] == [A, B]
        assert not (state.found and any(isinstance(verdict, Never) for verdict in state.verdicts))
