"""Where the values of a hop lie: rows of numbers that are needed at different times share their memory."""

from dataclasses import dataclass

ALIGNMENT = 4  # numbers; what processors load at once without a penalty


@dataclass
class Block:
    """Memory that is needed for some time.

    Attributes:
        size: numbers.
        first, last: numbers of the steps from whose beginning to whose end it is needed.
        offset: where `arrange` puts it.
    """

    size: int
    first: int
    last: int
    offset: int = 0


def arrange(blocks: list[Block]) -> int:
    """Give every block an offset, the largest first, each as low as it goes; how many numbers all of them take."""
    placed: list[Block] = []
    for block in sorted(blocks, key=lambda block: -block.size):
        taken = sorted(
            (other.offset, other.offset + other.size)
            for other in placed
            if other.first <= block.last and block.first <= other.last
        )
        offset = 0
        for start, end in taken:
            if offset + block.size <= start:
                break
            offset = max(offset, -(-end // ALIGNMENT) * ALIGNMENT)
        block.offset = offset
        placed.append(block)
    return max((block.offset + block.size for block in blocks), default=0)
