"""How reader threads hand facts to the UI thread: append, and wake it once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """A FIFO that wakes its reader at most once per batch; `put` is safe from any thread and never blocks."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._items: deque[Item] = deque()
        self._guard = threading.Lock()
        self._is_awake = False

    def put(self, item: Item) -> None:
        """Append an item and wake the reader if it sleeps."""
        with self._guard:
            self._items.append(item)
            wake, self._is_awake = not self._is_awake, True
        if wake:
            self._wake()

    def drain(self) -> list[Item]:
        """Return everything put so far, oldest first."""
        with self._guard:
            items = list(self._items)
            self._items.clear()
            self._is_awake = False
        return items
