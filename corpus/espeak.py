"""Spoken syllables from espeak-ng, through ctypes on the library of the espeakng-loader package.

The library keeps oscillator phases and noise positions from one utterance to the next, so that what it
says depends on what it said before, and seeds its noise from the clock. Here it is loaded afresh for every
utterance (5 ms) and seeded alike: the same text gives the same samples in any order, process, forked worker
and second. One utterance at a time in a process.
"""

import _ctypes
import ctypes
import os
import threading
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

import espeakng_loader
import numpy as np
import numpy.typing as npt

from common.errors import AudioError

MANDARIN, ENGLISH = "cmn-latn-pinyin", "en-us"

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS
_PHONEME_EVENTS, _DONT_EXIT = 0x0001, 0x8000
_EVENT_END, _EVENT_PHONEME = 0, 7
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_UTF8, _BRACKETS = 0x0001, 0x0100  # [[…]] holds phonemes


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True, eq=False)
class Utterance:
    """What was said, and where each phoneme of it begins."""

    samples: npt.NDArray[np.float64]  # (time,), full scale 1
    sample_rate: int  # Hz
    phonemes: tuple[tuple[str, int], ...]  # espeak's mnemonic ("'" before a stressed vowel), sample

    @property
    def end(self) -> int:
        """The sample at which the last phoneme ends."""
        pauses = [at for name, at in self.phonemes if name.startswith("_")]
        return pauses[0] if pauses else len(self.samples)


@cache
def library_version() -> str:
    """The version of the package that holds the library, to key caches."""
    return version("espeakng-loader")


_lock = threading.Lock()
# A fork in the middle of an utterance would copy a held lock into the child.
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def say(text: str, voice: str, pitch: int = 50, rate: int = 100) -> Utterance:
    """Speak `text` on a level pitch.

    Args:
        voice: language and variant, such as "cmn-latn-pinyin+f2".
        pitch: 0–99 in espeak's own scale.
        rate: words a minute.
    Raises:
        AudioError: the library can't start, doesn't know the voice, or says nothing.
    """
    with _lock:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        try:
            return _say(library, text, voice, pitch, rate)
        finally:
            library.espeak_Terminate()
            _ctypes.dlclose(library._handle)


def _say(library: ctypes.CDLL, text: str, voice: str, pitch: int, rate: int) -> Utterance:
    pieces: list[npt.NDArray[np.int16]] = []
    phonemes: list[tuple[str, int]] = []

    def receive(wave, count, events):  # type: ignore[no-untyped-def]
        if wave and count > 0:
            pieces.append(np.ctypeslib.as_array(wave, (count,)).copy())
        index = 0
        while events[index].type != _EVENT_END:
            if events[index].type == _EVENT_PHONEME:
                name = bytes(events[index].id.string).split(b"\0")[0].decode("utf-8", "replace")
                phonemes.append((name, events[index].sample))
            index += 1
        return 0

    folder = espeakng_loader.get_data_path().encode()
    sample_rate = library.espeak_Initialize(_SYNCHRONOUS, 0, folder, _PHONEME_EVENTS | _DONT_EXIT)
    if sample_rate <= 0:
        raise AudioError(
            f"espeak-ng can't start with its data in {folder.decode()}: reinstall espeakng-loader"
        )
    callback = _Callback(receive)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise AudioError(f"espeak-ng has no voice {voice!r}")
    for parameter, value in ((_RATE, rate), (_VOLUME, 100), (_PITCH, pitch), (_RANGE, 0)):
        library.espeak_SetParameter(parameter, value, 0)
    data = text.encode()
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # initialising took the clock's second, for breath
    library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8 | _BRACKETS, None, None)
    library.espeak_Synchronize()
    if not pieces or not phonemes:
        raise AudioError(f"espeak-ng says nothing for {text!r} with the voice {voice!r}")
    return Utterance(np.concatenate(pieces) / 32768.0, sample_rate, tuple(phonemes))
