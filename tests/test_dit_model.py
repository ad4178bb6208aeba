"""The song model: sizes, padding, dropped conditions, places, saving."""

from dataclasses import replace

import pytest
import torch

from common.description import Audience
from common.errors import ConfigError, RequestError
from common.frames import N_CHANNELS, ScoreFrames, render
from dit.conditions import ROLES, Conditions, numbered
from dit.layers import rotate, rotations
from dit.model import SIZES, SongTransformer
from tests.dit_songs import RATE, score

DIM = SIZES["tiny"]["latent_dim"]


def awake(**overrides: object) -> SongTransformer:
    """A tiny model whose zero layers aren't zero, so that every path through it counts."""
    torch.manual_seed(0)
    model = SongTransformer.named("tiny", **overrides).eval()
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    return model


KNOWN = {"genre": ["摇滚", "民谣"], "singer": ["female", "male"], "lead": ["长笛", "小号"], "pad": ["弦乐"]}


def song(frames: int, seed: int, fragments: int = 3, words: int = 9) -> Conditions:
    g = torch.Generator().manual_seed(seed)
    return Conditions.single(
        frames,
        fragments=torch.randn(fragments, 512, generator=g) / 20,
        audience=Audience.AMATEUR,
        duration=frames / RATE,
        lyrics=torch.randint(1, 60, (words,), generator=g).tolist(),
        score=render(score(seed, sung=seed % 3 != 2), RATE, frames),
        arrangement=numbered({role: names[seed % len(names)] for role, names in KNOWN.items()}, KNOWN),
    )


def noisy(frames: int, seed: int) -> torch.Tensor:
    return torch.randn(1, frames, DIM, generator=torch.Generator().manual_seed(100 + seed))


RANGES = {"tiny": (0.05, 0.3), "demo": (12, 24), "paper": (360, 400)}  # millions


@pytest.mark.parametrize("name", RANGES)
def test_named_sizes_have_their_parameters(name: str) -> None:
    with torch.device("meta"):
        model = SongTransformer.named(name)
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert RANGES[name][0] < count < RANGES[name][1]


def test_the_pooled_description_steers_and_its_order_is_nothing_to_it() -> None:
    model = awake(pooled_text=True)
    conditions = song(8, 0)
    assert model.pooled is not None
    steered = model.pooled(conditions.fragments, conditions.fragment_mask)
    turned = model.pooled(conditions.fragments.flip(1), conditions.fragment_mask.flip(1))
    torch.testing.assert_close(steered, turned)
    padded = torch.cat([conditions.fragments, torch.ones(1, 2, 512)], 1)
    mask = torch.cat([conditions.fragment_mask, torch.zeros(1, 2, dtype=torch.bool)], 1)
    torch.testing.assert_close(model.pooled(padded, mask), steered)
    assert torch.equal(model.pooled(padded, torch.zeros_like(mask))[0], model.pooled.none)
    assert SongTransformer.named("tiny", pooled_text=False).pooled is None


@pytest.mark.parametrize("patch", [1, 2, 3, 4])
@pytest.mark.parametrize("frames", [1, 7, 12])
def test_any_length_comes_back_at_any_patch(patch: int, frames: int) -> None:
    out = awake(patch=patch)(noisy(frames, 0), torch.tensor([0.5]), song(frames, 0))
    assert out.shape == (1, frames, DIM)
    assert out.isfinite().all()


@pytest.mark.parametrize(
    "overrides", [{"heads": 3}, {"dim": 36, "heads": 6}, {"patch": 5}, {"depth": 0}, {"share_taps": 4}]
)
def test_sizes_that_do_not_fit_are_refused(overrides: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"but (a head|patch|depth|got)"):
        SongTransformer.named("tiny", **overrides)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="tiny, demo, paper"):
        SongTransformer.named("huge")


def test_a_fresh_model_answers_zero() -> None:
    model = SongTransformer.named("tiny")
    out = model(noisy(8, 0), torch.tensor([0.3]), song(8, 0))
    assert not out.any()


def test_the_share_of_the_input_is_a_filter_of_each_dimension() -> None:
    model = SongTransformer.named("tiny", share_taps=3).eval()  # its other parts answer zero
    filters = torch.randn(DIM, 3)
    with torch.no_grad():
        model.output.share.bias.copy_(filters.flatten())
    x = noisy(10, 0)
    out = model(x, torch.tensor([0.4]), song(10, 0))
    expected = torch.nn.functional.conv1d(x.mT, filters[:, None], padding=1, groups=DIM).mT
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("patch", "width", "taps"), [(1, 0, 1), (2, 16, 1), (4, 16, 5)])
def test_padding_changes_nothing(patch: int, width: int, taps: int) -> None:
    model = awake(patch=patch, frame_width=width, share_taps=taps, arrangement=KNOWN)
    lengths = (9, 22, 16)
    songs = [song(n, n, fragments=1 + n % 3, words=n % 7) for n in lengths]
    inputs = [noisy(n, n) for n in lengths]
    alone = [model(x, torch.tensor([0.6]), c)[0] for x, c in zip(inputs, songs)]
    mask = torch.arange(24) < torch.tensor(lengths)[:, None]
    padded = torch.full((3, 24, DIM), 7.0)
    for row, x in zip(padded, inputs):
        row[: x.shape[1]] = x[0]
    longest = Conditions.batch([*songs, song(24, 0, words=20)])
    conditions = Conditions(**{k: v[:3].clone() for k, v in vars(longest).items()})
    conditions.channels[~mask] = 5.0
    conditions.fragments[~conditions.fragment_mask] = 9.0
    together = model(padded, torch.full((3,), 0.6), conditions, mask)
    for row, answer, length in zip(together, alone, lengths):
        assert torch.allclose(row[:length], answer, atol=1e-5)
        assert not row[length:].any()


@pytest.mark.parametrize("part", ["description", "audience", "timing", "lyrics", "score", "arrangement"])
def test_a_dropped_condition_is_the_same_whatever_it_was(part: str) -> None:
    model, x, t = awake(arrangement=KNOWN), noisy(20, 0), torch.tensor([0.7])
    one, other = song(20, 1), song(20, 2)
    names = {
        "description": ["fragments"],
        "audience": ["audience"],
        "timing": ["timing"],
        "lyrics": ["lyrics"],
        "score": ["channels", "initial", "final"],
        "arrangement": ["arrangement"],
    }[part]
    mixed = Conditions(**vars(one) | {n: getattr(other, n) for n in names})
    if part == "audience":
        mixed = Conditions(**vars(one) | {"audience": torch.tensor([0])})
    if part == "timing":
        mixed = Conditions(**vars(one) | {"timing": torch.tensor([[3.0, 9.0]])})
    assert not torch.allclose(model(x, t, one), model(x, t, mixed), atol=1e-5), "the condition is heard"
    dropped = [model(x, t, c.drop(**{part: True})) for c in (one, mixed)]
    assert torch.equal(*dropped)


def test_dropping_is_the_same_as_never_having_it() -> None:
    model, x, t = awake(arrangement=KNOWN), noisy(20, 0), torch.tensor([0.7])
    parts = ("description", "audience", "timing", "lyrics", "score", "arrangement")
    bare = song(20, 1).drop(**dict.fromkeys(parts, True))
    assert torch.allclose(model(x, t, bare), model(x, t, Conditions.single(20)), atol=1e-6)


@pytest.mark.parametrize("role", KNOWN)
def test_each_player_is_heard_and_an_unknown_one_is_nobody(role: str) -> None:
    model, x, t = awake(arrangement=KNOWN), noisy(20, 0), torch.tensor([0.7])
    assert model.known == {name: tuple(names) for name, names in KNOWN.items()}
    c = Conditions.batch([song(20, 1), song(20, 2)])  # sung, and played by a lead
    named = {name: names[0] for name, names in KNOWN.items()}

    def told(names: dict[str, str]) -> Conditions:
        return replace(c, arrangement=torch.tensor([numbered(names, model.known)] * 2))

    answers = [model(x.repeat(2, 1, 1), t.repeat(2), told(n)) for n in (named, named | {role: "?"})]
    assert not torch.allclose(*answers, atol=1e-5)
    without = {name: value for name, value in named.items() if name != role}
    assert torch.equal(told(without).arrangement, told(named | {role: "?"}).arrangement)


def test_the_singer_is_near_where_it_is_sung_and_the_lead_where_it_is_played() -> None:
    model = awake(arrangement=KNOWN)
    assert model.players is not None
    sung, played = song(20, 1), song(20, 2)
    for c, heard, silent in ((sung, "singer", "lead"), (played, "lead", "singer")):
        channels = c.channels
        for role, matters in ((heard, True), (silent, False)):
            other = c.arrangement.clone()
            other[:, ROLES.index(role)] = 0
            near = [model.players(a, channels, None) for a in (c.arrangement, other)]
            assert torch.equal(*near) != matters


def test_a_model_without_an_arrangement_takes_none() -> None:
    model, x, t = awake(), noisy(20, 0), torch.tensor([0.7])
    assert model.known == {} and model.players is None
    c = song(20, 1)
    assert torch.equal(model(x, t, c), model(x, t, c.drop(arrangement=True)))


def test_fragments_are_a_set() -> None:
    model, x, t, c = awake(), noisy(12, 0), torch.tensor([0.5]), song(12, 0)
    turned = Conditions(**vars(c) | {"fragments": c.fragments.flip(1)})
    assert torch.allclose(model(x, t, c), model(x, t, turned), atol=1e-5)


def test_rope_sees_only_distances() -> None:
    g = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 16, generator=g).expand(2, 1, 1, 40, 16)
    turns = rotations(0, 40, 2, 16, torch.device("cpu"))
    logits = (rotate(q, turns) @ rotate(k, turns).mT)[0, 0]
    assert torch.allclose(logits[3, 7], logits[30, 34], atol=1e-4)
    assert not torch.allclose(logits[3, 7], logits[3, 9], atol=1e-3)


def test_gradient_checkpointing_changes_no_gradient() -> None:
    plain, saving = awake(), awake()
    saving.enable_gradient_checkpointing()
    for model in (plain, saving):
        model.train()
        model(noisy(12, 0), torch.tensor([0.5]), song(12, 0)).square().mean().backward()
    for a, b in zip(plain.parameters(), saving.parameters()):
        if a.grad is not None:
            assert b.grad is not None and torch.allclose(a.grad, b.grad, atol=1e-6)


def test_every_parameter_learns() -> None:
    model = awake(frame_width=16, share_taps=3, voice_width=16, arrangement=KNOWN)
    c = Conditions.batch([song(12, 0), song(12, 2), Conditions.single(12)])  # sung, played, nothing
    model(noisy(12, 0).repeat(3, 1, 1), torch.full((3,), 0.5), c).square().mean().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_saved_and_loaded_is_the_same(tmp_path: object) -> None:
    model = awake(arrangement=KNOWN)
    model.save_pretrained(str(tmp_path))
    again = SongTransformer.from_pretrained(str(tmp_path)).eval()
    arguments = (noisy(10, 0), torch.tensor([0.4]), song(10, 0))
    assert torch.equal(model(*arguments), again(*arguments))
    assert again.known == model.known


def test_a_score_of_another_length_is_refused() -> None:
    import numpy as np

    frames = ScoreFrames(np.zeros((9, N_CHANNELS), np.float32), np.zeros(9, np.int64), np.zeros(9, np.int64))
    with pytest.raises(RequestError, match="9 frames, 10 are asked for"):
        Conditions.single(10, score=frames)
