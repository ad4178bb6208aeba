"""Directions that tell sounds apart: closed forms on planted latents, the labels, the weight in training."""

from dataclasses import replace

import pytest
import torch

from common.frames import GROUPS, render
from common.pinyin import FINALS, INITIALS
from corpus.synth import song
from dit import arrangement
from dit.conditions import ROLES, Conditions, numbered
from dit.discriminants import SPAN, Discriminants, fit, stretches
from dit.phones import COUNT, exchanged, is_consonant, phones, weights
from tests.dit_songs import score

RATE = 43.07


def sung(seed: int, sung: bool = True) -> Conditions:
    of = score(seed, bars=4, sung=sung)
    frames = int(of.duration * RATE)
    return Conditions.single(frames, score=render(of, RATE, frames))


def signal(conditions: Conditions) -> torch.Tensor:
    """(T, 6): the first dimension tells initials, the second tells finals."""
    phone = phones(conditions)[0]
    consonant = is_consonant(phone)
    out = torch.zeros(len(phone), 6)
    out[:, 0] = torch.where(consonant, phone - 8.0, 0.0)
    out[:, 1] = torch.where((phone >= 0) & ~consonant, phone % 7 - 3.0, 0.0)
    return 4 * out


def planted(seed: int) -> tuple[torch.Tensor, Conditions]:
    """Latents of noise with such a signal; every other song sings other phones."""
    conditions = sung(seed) if seed % 2 else exchanged(sung(seed))
    return signal(conditions) + torch.randn(conditions.frames, 6), conditions


def test_consonants_come_before_their_note_and_vowels_fill_it() -> None:
    conditions = sung(1)
    phone = phones(conditions)[0]
    onset = conditions.channels[0, :, GROUPS["voice"].start + 1]
    first = next(int(i) for i in onset.nonzero() if i > 5 and conditions.initial[0, i + 1] > 0)
    before = phone[first - 2 : first + 1]
    assert bool((before == conditions.initial[0, first + 1]).all())
    note = phone[first + 1 : first + 15]
    assert bool((note >= len(INITIALS)).all())
    assert {int(p - len(INITIALS)) % len(FINALS) for p in note} == {int(conditions.final[0, first + 1])}
    assert bool((phones(sung(1, sung=False)) == -1).all())
    assert bool((phones(conditions.drop(score=True)) == -1).all())


def test_planted_phones_are_found_and_followed() -> None:
    torch.manual_seed(0)
    space = fit((planted(seed) for seed in range(40)), phones, COUNT)
    assert space is not None
    unit = (space.directions / space.directions.norm(dim=0)).reshape(6, SPAN, -1)
    assert unit[:2, :, -1].square().sum() > 0.95  # the clearest direction lies in the planted dimensions
    conditions = sung(99)
    other = exchanged(conditions)
    before, after = phones(conditions), phones(other)
    assert bool(((before >= 0) == (after >= 0)).all()) and bool((before != after)[before >= 0].any())
    for share in (1.0, 0.5, 0.0):
        difference = share * (signal(conditions) - signal(other))[None]
        gone, way = space.moved(difference, before, after)
        assert float(gone.sum() / way.sum()) == pytest.approx(share, abs=0.1)
        assert bool((way[(before < 0) | (before == after)] == 0).all())


def test_the_penalty_is_the_mean_square_along_the_directions() -> None:
    space = Discriminants(torch.randn(SPAN * 2, 3), torch.tensor([3.0, 1.0, 0.5]), torch.zeros(5, 3))
    error, weight = torch.randn(2, 9, 2), torch.tensor([[0.0] * 3 + [1.0] * 3 + [3.0] * 3, [0.0] * 9])
    unit = (space.directions / space.directions.norm(dim=0)).double()
    share = space.ratios.sqrt() / space.ratios.sqrt().sum()
    square = (stretches(error).double() @ unit).square() @ share.double()
    expected = (square[0] * weight[0]).sum() / 12
    found = space.penalty(error, weight)
    assert found[0] == pytest.approx(float(expected), rel=1e-5) and found[1] == 0


def test_a_consonant_counts_more_and_silence_nothing() -> None:
    conditions = sung(1)
    phone = phones(conditions)
    weight = weights(conditions, consonants=3.0)
    assert bool((weight[phone < 0] == 0).all())
    assert bool((weight[is_consonant(phone)] == 3).all())
    assert bool((weight[(phone >= 0) & ~is_consonant(phone)] == 1).all())


def test_silent_songs_have_no_phones_to_tell_apart() -> None:
    silent = sung(0, sung=False)
    assert fit([(torch.randn(silent.frames, 4), silent)] * 3, phones, COUNT) is None


# ---- who has the tune ------------------------------------------------------------------------


def played(seed: int, singer: str = "none", lead: str = "小号") -> Conditions:
    of = score(seed, bars=4, sung=singer != "none")
    frames = int(of.duration * RATE)
    players = numbered({"singer": singer, "lead": lead}, arrangement.names())
    return Conditions.single(frames, score=render(of, RATE, frames), arrangement=players)


def test_leads_and_singers_have_the_tune() -> None:
    lead, voice = arrangement.tune(played(1)), arrangement.tune(played(1, singer="male"))
    leads = arrangement.names()["lead"]
    assert set(lead.unique().tolist()) <= {-1, leads.index("小号") + 1}
    assert (lead > 0).float().mean() > 0.9
    assert int(voice.max()) > len(leads) and set(voice.unique().tolist()) - {-1} == {int(voice.max())}
    assert int(voice.max()) < arrangement.players()
    unnamed = Conditions.single(lead.shape[1])
    for silent in (unnamed, played(1).drop(score=True), played(1).drop(arrangement=True)):
        assert bool((arrangement.tune(silent) == -1).all())
    assert bool((arrangement.weights(played(1), leads=3.0)[lead > 0] == 3).all())
    assert bool((arrangement.weights(played(1, singer="male"), leads=3.0)[voice > 0] == 1).all())


def test_exchanged_leads_are_others_and_nothing_else_changes() -> None:
    one = Conditions.batch([played(1, lead=name) for name in arrangement.names()["lead"]])
    other = arrangement.exchanged(one)
    lead = ROLES.index("lead")
    assert bool((one.arrangement[:, lead] != other.arrangement[:, lead]).all())
    assert sorted(other.arrangement[:, lead].tolist()) == sorted(one.arrangement[:, lead].tolist())
    rest = [k for k in range(len(ROLES)) if k != lead]
    assert torch.equal(one.arrangement[:, rest], other.arrangement[:, rest])
    assert torch.equal(
        arrangement.exchanged(played(1).drop(arrangement=True)).arrangement, torch.zeros(1, len(ROLES)).long()
    )


def test_planted_leads_are_found_though_singers_are_most() -> None:
    torch.manual_seed(0)
    names = arrangement.names()["lead"]

    def planted_lead(seed: int) -> tuple[torch.Tensor, Conditions]:
        sings = seed % 4 > 0
        conditions = played(seed, "female" if sings else "none", names[seed // 4 % 8])
        who = arrangement.tune(conditions)[0]
        latents = torch.randn(conditions.frames, 6)
        latents[:, 1] += 4 * torch.where(who > 0, (who % 3).float(), 0.0)
        return latents, conditions

    space = fit(
        (planted_lead(seed) for seed in range(64)), arrangement.tune, arrangement.players(), even=True
    )
    assert space is not None
    unit = (space.directions / space.directions.norm(dim=0)).reshape(6, SPAN, -1)
    assert unit[1, :, -1].square().sum() > 0.9


def test_of_a_song_of_the_corpus_all_players_are_known_and_of_another_what_it_says() -> None:
    record = song(5, "train", durations=(12.0, 13.0)).record
    found = arrangement.of_record(record)
    assert found["genre"] == record.genre and found["singer"] == record.singer
    assert {found[role] for role in ROLES if role in found} >= set(record.instruments or ())
    assert numbered(found, arrangement.names()).count(0) == len(ROLES) - len(found)
    foreign = replace(record, source="elsewhere", seed=None, genre=None, singer="male", mood=None)
    assert arrangement.of_record(foreign) == {"singer": "male"}
