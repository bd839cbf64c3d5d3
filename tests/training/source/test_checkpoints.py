from pathlib import Path

import numpy as np
import pytest

from training.source import checkpoints

KEY = "0123456789abcdef"


def features(number: int) -> checkpoints.Features:
    return {"a": np.full((2, 3), number, dtype=np.float32), "b": np.full((2, 1), -number, dtype=np.float32)}


def test_what_was_kept_in_parts_is_read_back_whole(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, KEY, {"f1": features(1), "f0": features(0)})
    checkpoints.save(tmp_path, KEY, {"f2": features(2)})
    found = checkpoints.load(tmp_path, KEY)
    assert sorted(found) == ["f0", "f1", "f2"]
    for number in range(3):
        for name, values in features(number).items():
            assert np.array_equal(found[f"f{number}"][name], values)
            assert found[f"f{number}"][name].dtype == np.float32


def test_features_of_something_else_are_not_taken(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, KEY, {"f1": features(1)})
    assert checkpoints.load(tmp_path, KEY[::-1]) == {}


@pytest.mark.parametrize("length", [0, 20, -30])
def test_damaged_file_is_passed_over_and_the_others_are_read(length: int, tmp_path: Path) -> None:
    checkpoints.save(tmp_path, KEY, {"f1": features(1)})
    (damaged,) = tmp_path.iterdir()
    checkpoints.save(tmp_path, KEY, {"f2": features(2)})
    damaged.write_bytes(damaged.read_bytes()[:length])
    assert sorted(checkpoints.load(tmp_path, KEY)) == ["f2"]


def test_file_with_a_pickle_is_not_unpickled(tmp_path: Path) -> None:
    array = np.array([Bomb()], dtype=object)
    np.savez(tmp_path / f"features-{KEY}-x.npz", pictures=np.array(["f1"]), a=array)
    assert checkpoints.load(tmp_path, KEY) == {}
    assert not Bomb.exploded


class Bomb:
    exploded = False

    def __setstate__(self, state: object) -> None:
        Bomb.exploded = True

    def __getstate__(self) -> object:
        return {"state": 1}


def test_key_depends_on_backbone_size_and_outputs(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"1")
    second.write_bytes(b"2")
    keys = {
        checkpoints.key(first, 160, ("a", "b")),
        checkpoints.key(second, 160, ("a", "b")),
        checkpoints.key(first, 224, ("a", "b")),
        checkpoints.key(first, 160, ("a",)),
    }
    assert len(keys) == 4
