"""Recordings: what is read of files, and the pictures that they become."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from danlu.data.sounds import Sound, SoundEncoder, is_sound_source, read_sounds
from danlu.data.sounds.encode import mel_filters
from danlu.errors import ArtifactError, DataError, SchemaError

RATE = 8000


def tone(pitch: float, seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize(
    ("dtype", "scale", "shift"),
    [(np.uint8, 127, 128), (np.int16, 32767, 0), (np.int32, 2**31 - 1, 0), (np.float32, 1, 0)],
)
def test_samples_of_every_width_are_the_same_sound(tmp_path: Path, dtype: type, scale: float, shift: int) -> None:
    samples = tone(440)
    stereo = np.stack([samples, samples], axis=1) * scale + shift
    wavfile.write(tmp_path / "a.wav", RATE, stereo.round(0 if scale > 1 else 6).astype(dtype))
    (found,) = read_sounds(tmp_path / "a.wav").sounds
    assert found.rate == RATE
    np.testing.assert_allclose(found.samples, samples, atol=1.2 / scale if scale > 1 else 1e-5)


def test_folders_name_the_classes_and_broken_files_are_told_of(tmp_path: Path) -> None:
    for label in ("high", "low"):
        (tmp_path / label / ".hidden").mkdir(parents=True)
        wavfile.write(tmp_path / label / "one.WAV", RATE, tone(300))
        wavfile.write(tmp_path / label / ".hidden" / "no.wav", RATE, tone(300))
    (tmp_path / "low" / "bad.wav").write_bytes(b"RIFF nothing")
    (tmp_path / "low" / "notes.txt").write_text("not a sound")
    assert is_sound_source(tmp_path)
    assert not is_sound_source(tmp_path / "low" / "notes.txt")
    assert not is_sound_source(tmp_path / "none")
    found = read_sounds(tmp_path)
    assert found.labels is not None
    assert found.labels.to_list() == ["high", "low"]
    assert found.paths == ("high/one.WAV", "low/one.WAV")
    assert found.notices[0].startswith("1 of 3 recordings cannot be read and were left out: bad.wav (not a readable")
    assert read_sounds(tmp_path / "low").labels is None
    shutil.rmtree(tmp_path / "low")
    one_class = read_sounds(tmp_path)
    assert one_class.labels is not None, "the label is known, though nothing can be learnt from one alone"
    assert one_class.labels.to_list() == ["high"]
    with pytest.raises(DataError, match="was not found"):
        read_sounds(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"has no \.wav file"):
        read_sounds(tmp_path / "empty")


def test_recordings_of_other_formats_are_told_of(tmp_path: Path) -> None:
    (tmp_path / "one.mp3").write_bytes(b"ID3")
    for source in (tmp_path, tmp_path / "one.mp3"):
        assert is_sound_source(source)
        with pytest.raises(DataError, match=r"no \.wav file") as caught:
            read_sounds(source)
        assert "one.mp3" in str(caught.value)
        assert "convert them" in str(caught.value.hint)
    for name, data in (("junk.wav", b"junk"), ("none.wav", b"")):
        (tmp_path / name).write_bytes(data)
    wavfile.write(tmp_path / "tone.wav", RATE, tone(300))
    others, broken = read_sounds(tmp_path).notices
    assert others.startswith("recordings in formats other than .wav were left out (1: one.mp3)")
    assert broken.endswith("junk.wav (not a .wav file); none.wav (an empty file)")


def test_the_sources_own_parts_are_kept(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for label in ("high", "low"):
            (tmp_path / part / label).mkdir(parents=True)
            wavfile.write(tmp_path / part / label / "a.wav", RATE, tone(300))
    found = read_sounds(tmp_path)
    assert found.parts is not None
    assert found.parts.tolist() == ["test", "test", "train", "train"]
    assert found.labels is not None
    assert found.labels.to_list() == ["high", "low"] * 2


def test_mel_filters_share_out_each_pitch_between_two_bands() -> None:
    filters = mel_filters(16_000, 2048, 40)
    pitches = np.linspace(0, 8000, 1025)
    mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 42)
    centres = 700 * (10 ** (mel / 2595) - 1)
    between = (pitches >= centres[1]) & (pitches <= centres[-2])
    np.testing.assert_allclose(filters.sum(axis=1)[between], 1, atol=1e-5)
    assert (np.count_nonzero(filters, axis=1) <= 2).all()
    np.testing.assert_allclose(pitches[filters.argmax(axis=0)], centres[1:-1], atol=8)


def test_a_tone_is_a_line_at_its_pitch_whatever_its_rate() -> None:
    encoder = SoundEncoder.fit([Sound(tone(400), RATE), Sound(tone(2000), RATE)])
    low, high, fast = encoder.transform(
        [Sound(tone(400), RATE), Sound(tone(2000), RATE), Sound(tone(2000, rate=16_000), 16_000)]
    )
    brightest = [int(image[..., 0].astype(float).mean(axis=1).argmax()) for image in (low, high, fast)]
    assert brightest[0] > brightest[1], "low pitches are at the bottom"
    assert abs(brightest[1] - brightest[2]) <= 1
    again = SoundEncoder.from_state(*encoder.state())
    assert again == encoder
    for damage in ({"bands": 0}, {"low": float("nan")}, {"rate": "8000"}, {"high": encoder.low}):
        with pytest.raises(ArtifactError, match="damaged"):
            SoundEncoder.from_state({**encoder.state()[0], **damage}, {})


def test_short_and_long_recordings_have_one_shape_and_records_are_files_in_base64(tmp_path: Path) -> None:
    encoder = SoundEncoder.fit([Sound(tone(400, 1.0), RATE)], bands=16, seconds=0.5)
    assert encoder.transform([Sound(tone(400, s), RATE) for s in (0.001, 0.5, 3.0)]).shape == (3, *encoder.in_shape)
    wavfile.write(tmp_path / "a.wav", RATE, tone(400))
    data = (tmp_path / "a.wav").read_bytes()
    (one,) = encoder.rows([{"sound": base64.b64encode(data).decode()}], print)
    np.testing.assert_array_equal(one.samples, tone(400))
    for wrong in ("%%%", base64.b64encode(b"no wav").decode(), 7):
        with pytest.raises(SchemaError, match="'sound' of record 1"):
            encoder.rows([{"sound": wrong}], print)
