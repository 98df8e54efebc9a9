"""Lets what makes pieces of content work beside what takes them."""

from __future__ import annotations

import threading
from contextvars import copy_context
from queue import Full, Queue
from typing import TYPE_CHECKING, Any

from supervisor._hooks import OUR_THREADS

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECES = 4
_LOOK_AGAIN_S = 0.1


def ahead(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield pieces that a thread makes meanwhile, a few ahead, so that memory stays bounded.

    What it raises is raised here. A consumer that stops early ends the thread.

    Args:
        pieces: Makes them; it is used in that thread alone.
    """
    queue: Queue[Any] = Queue(_PIECES)
    stopped = threading.Event()
    thread = threading.Thread(
        target=copy_context().run, args=(_make, pieces, queue, stopped), name=f"{OUR_THREADS}reads ahead", daemon=True
    )
    thread.start()
    try:
        while isinstance(piece := queue.get(), bytes):
            yield piece
        if piece is not None:
            raise piece
    finally:
        stopped.set()
        thread.join()


def _make(pieces: Iterator[bytes], queue: Queue[Any], stopped: threading.Event) -> None:
    end: BaseException | None = None
    try:
        for piece in pieces:
            _put(piece, queue, stopped)
            if stopped.is_set():
                return
    except BaseException as error:  # noqa: BLE001 - it is raised in the thread that takes the pieces
        end = error
    _put(end, queue, stopped)


def _put(piece: Any, queue: Queue[Any], stopped: threading.Event) -> None:
    while not stopped.is_set():
        try:
            queue.put(piece, timeout=_LOOK_AGAIN_S)
        except Full:
            continue
        return
