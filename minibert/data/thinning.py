"""A long record of a table, thinned: its fields and quotes stay, content is dropped once enough of it was kept.

So csv.reader reads what it always reads, finds the same fields, and ends the record at the same place, however long a
field is.  Start with :class:`Thinner`.
"""

from minibert.data.beginnings import whole_characters

QUOTE = b'"'
BEGIN, PLAIN, QUOTED, AFTER_QUOTE = range(4)  # of a field; in it; between quotes; after what may be the last quote
LINE_ENDS = (b"\r\n", b"\n", b"\r")


class Thinner:
    """Takes one record, line by line and each line in parts, and gives what csv.reader is to read of it."""

    def __init__(self, delimiter: bytes, has_quotes: bool, keep: int, is_quoted: bool) -> None:
        """``keep``: how many bytes; ``is_quoted``: whether the line that begins now begins between quotes."""
        self.delimiter, self.has_quotes, self.left = delimiter, has_quotes, keep
        self.state = QUOTED if is_quoted else BEGIN
        self.kept = bytearray()
        self.drops = False  # whether content has been dropped
        self.fields_after = 0  # that began since then

    def feed(self, part: bytes) -> None:
        """Take a part of a line that goes on after it."""
        place = 0
        while place < len(part):
            here = part[place : place + 1]
            if self.state == BEGIN:
                is_quote = self.has_quotes and here == QUOTE
                self.state = QUOTED if is_quote else PLAIN
                if is_quote:
                    self.kept += QUOTE
                    place += 1
            elif self.state == AFTER_QUOTE:
                place += 1
                if here == QUOTE:  # two stand for one
                    self.content(2 * QUOTE, is_whole=True)
                    self.state = QUOTED
                else:
                    self.kept += QUOTE + here  # any other character than the delimiter is an error for csv.reader
                    self.state = PLAIN
                    self.count(here)
            else:
                mark = QUOTE if self.state == QUOTED else self.delimiter
                end = part.find(mark, place)
                self.content(part[place : end if end >= 0 else len(part)])
                if end < 0:
                    return
                place = end + 1
                if mark == QUOTE:
                    self.state = AFTER_QUOTE
                else:
                    self.kept += mark
                    self.count(mark)

    def count(self, mark: bytes) -> None:
        """Begin a field where a delimiter was kept."""
        if mark == self.delimiter:
            self.state = BEGIN
            self.fields_after += self.drops

    def content(self, part: bytes, is_whole: bool = False) -> None:
        """Keep as much as there is room for; of what ``is_whole``, all or nothing."""
        if len(part) <= self.left:
            self.kept += part
            self.left -= len(part)
        elif part:
            if not self.drops:
                self.kept += b"" if is_whole else part[: self.left]
                self.kept = bytearray(whole_characters(bytes(self.kept)))
            self.drops, self.left = True, 0

    def end_line(self, last: bytes) -> bytes:
        """Take the last part of a line; returns what was kept of the line."""
        end = next((end for end in LINE_ENDS if last.endswith(end)), b"")
        self.feed(last.removesuffix(end))
        if self.state == AFTER_QUOTE:
            self.kept += QUOTE
            self.state = PLAIN
        if self.state == QUOTED:
            self.content(end)
        else:
            self.kept += end
        kept = bytes(self.kept)
        self.kept.clear()
        return kept
