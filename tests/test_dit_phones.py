"""The phone space: closed forms on planted latents, what counts as a phone, the weight in training."""

import numpy as np
import pytest
import torch

from common.frames import GROUPS, render
from common.pinyin import FINALS, INITIALS
from dit.conditions import Conditions
from dit.phones import SPAN, PhoneSpace, fit, is_consonant, phones, stretches
from tests.dit_songs import score

RATE = 43.07


def sung(seed: int, sung: bool = True) -> Conditions:
    of = score(seed, bars=4, sung=sung)
    frames = int(of.duration * RATE)
    return Conditions.single(frames, score=render(of, RATE, frames))


def planted(seed: int, strength: float) -> tuple[torch.Tensor, Conditions]:
    """Latents (T, 6) of noise, whose first dimension tells initials and second tells finals."""
    conditions = sung(seed)
    phone = phones(conditions)[0]
    rng = np.random.default_rng(seed)
    latents = torch.from_numpy(rng.standard_normal((len(phone), 6))).float()
    consonant = is_consonant(phone)
    latents[:, 0] += strength * torch.where(consonant, phone - 5.0, 0.0)
    latents[:, 1] += strength * torch.where((phone >= 0) & ~consonant, phone % 7 - 3.0, 0.0)
    return latents, conditions


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


def test_planted_phones_are_found_and_read() -> None:
    space = fit(planted(seed, 4.0) for seed in range(40))
    assert space is not None
    unit = (space.directions / space.directions.norm(dim=0)).reshape(SPAN, 6, -1)
    best = unit[:, :2, -1].square().sum()  # the clearest direction lies in the planted dimensions
    assert best > 0.95
    latents, conditions = planted(99, 4.0)
    phone = phones(conditions)

    def right(found: torch.Tensor) -> float:  # phones that were planted alike count as the same
        same = torch.where(is_consonant(phone), found == phone, found % 7 == phone % 7)
        return float((same & (is_consonant(phone) == is_consonant(found)))[phone >= 0].float().mean())

    assert right(space.read(latents[None])[0]) > 0.95
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    assert right(space.read(noise[None])[0]) < 0.4


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
