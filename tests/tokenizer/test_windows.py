"""Rows and windows by known values."""

from minibert.tokenizer.windows import best_windows


def test_a_word_is_read_whole_in_one_window_where_one_holds_it() -> None:
    windows = [(0, 10), (6, 16), (12, 20)]
    words = [*range(7), 7, 7, 7, 7, *range(8, 17)]  # word 7: pieces 7 to 10, which the end of the first window cuts
    assert best_windows(words, windows) == [0] * 7 + [1] * 7 + [2] * 6
    assert (
        best_windows([0] * 20, windows) == [0] * 6 + [1] * 10 + [2] * 4
    )  # no window holds it, but every piece is in one
    assert best_windows([], [(0, 0)]) == []
