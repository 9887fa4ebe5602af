"""The daemon's recording of its own session: begun before anything is decided, ended with the loop.

A recording that cannot be made is said once and never keeps the daemon from trading.
"""

from __future__ import annotations

import logging
from typing import Any

from perp_bot.config.model import Config
from perp_bot.config.paths import RuntimePaths
from perp_bot.core.clock import VenueClock
from perp_bot.core.errors import StoreError
from perp_bot.data import recordings
from perp_bot.data.db.journal_copy import copy_journal
from perp_bot.data.db.writer import Writer
from perp_bot.data.recorder import Recorder
from perp_bot.data.recordings import Recording
from perp_bot.data.session_format import Ending, Opening
from perp_bot.trading.desk import Desk
from perp_bot.trading.outside import Outside, RecordedOutside

LOG = logging.getLogger(__name__)

_FLUSH_S = 5.0


class DaemonRecording:
    """Owns the recorder; `outside` is what the session asks the world through, recorded or not."""

    def __init__(self, config: Config, paths: RuntimePaths, boot_id: str, venue: str) -> None:
        self._paths = paths
        self._venue = venue
        self._recording: Recording | None = None
        self._recorder: Recorder | None = None
        self._outside: RecordedOutside | None = None
        self.outside = Outside()
        if config.data.recording_mb == 0:
            return
        try:
            self._recording, self._recorder = recordings.begin(
                paths.recordings, config, kind=recordings.TRADING, venue=venue, boot_id=boot_id
            )
        except OSError as error:
            LOG.warning("this session is not recorded: %s: %s", paths.recordings, error.strerror or error)
            return
        self.outside = self._outside = RecordedOutside(self._recorder)

    def begin(self, writer: Writer) -> None:
        """Copy the journal as it stands, and start to write."""
        if self._recorder is None or self._recording is None:
            return
        try:
            writer.flush(_FLUSH_S)
            copy_journal(self._paths.db, self._recording.start_db)
        except StoreError as error:
            self._recorder.lost = f"the journal could not be copied: {error}"
            return
        self._recorder.start()

    def opened(
        self,
        desk: Desk,
        clock: VenueClock,
        times: tuple[int, int | None],
        started: tuple[str, int],
        emergencies: list[dict[str, Any]],
    ) -> None:
        """Write down the state that the loop begins with.

        `times`: of the start-up, and from when a stepped venue sends again; `started`: the STARTED sentence, its time.
        """
        if self._recorder is None or self._outside is None:
            return
        self._recorder.put(
            Opening(
                speed=clock.speed,
                now_ms=times[0],
                replay_from_ms=times[1],
                instruments=list(desk.instruments().values()),
                force=desk.force,
                book_max_age_ms=desk.book_max_age_ms,
                venue=self._venue,
                killed=desk.killed,
                histories={symbol: history.until(2**62) for symbol, history in desk.histories.items()},
                started=started[0],
                started_ms=started[1],
                emergencies=list(emergencies),
                answers=self._outside.answers(),
            )
        )

    def stop(self, ended: tuple[str, int] | None) -> None:
        """End the recording; `ended` is the STOPPED sentence and its time, None when the loop did not end in order."""
        if self._recorder is None:
            return
        passes = 0 if self._outside is None else self._outside.passes
        self._recorder.stop(None if ended is None else Ending(*ended, passes))
        self._recorder = None
