"""The phone space: closed forms on planted latents, what counts as a phone, the weight in training."""

import pytest
import torch

from common.frames import GROUPS, render
from common.pinyin import FINALS, INITIALS
from dit.conditions import Conditions
from dit.phones import SPAN, PhoneSpace, exchanged, fit, is_consonant, phones, stretches
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
    space = fit(planted(seed) for seed in range(40))
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
    space = PhoneSpace(torch.randn(SPAN * 2, 3), torch.tensor([3.0, 1.0, 0.5]), torch.zeros(5, 3))
    error, phone = torch.randn(2, 9, 2), torch.tensor([[-1] * 3 + [30] * 3 + [4] * 3, [-1] * 9])
    unit = (space.directions / space.directions.norm(dim=0)).double()
    share = space.ratios.sqrt() / space.ratios.sqrt().sum()
    square = (stretches(error).double() @ unit).square() @ share.double()
    weight = torch.tensor([0, 0, 0, 1, 1, 1, 3, 3, 3]).double()
    expected = (square[0] * weight).sum() / 12
    found = space.penalty(error, phone, consonants=3.0)
    assert found[0] == pytest.approx(float(expected), rel=1e-5) and found[1] == 0


def test_silent_songs_have_no_phone_space() -> None:
    silent = sung(0, sung=False)
    assert fit([(torch.randn(silent.frames, 4), silent)] * 3) is None
