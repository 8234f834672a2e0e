"""The pulses of a run as they are heard, in a thread of their own, beside its volumes as they come."""

import logging
import threading
from types import TracebackType

from scanner_bridge.errors import TriggerError
from scanner_bridge.reconciliation import reconcile
from scanner_bridge.triggers import open_trigger
from scanner_bridge.triggers.settings import TriggerSettings
from scanner_bridge.volume import TriggerSummary, Volume

logger = logging.getLogger(__name__)

_LOOK_S = 0.05


class RunPulses:
    """Keeps the times of pulses and volumes; a trigger that fails is told once, and the run goes on.

    Use as ``with RunPulses(settings) as pulses``; pulses count from then on.

    Parameters
    ----------
    settings : TriggerSettings
        What to hear.

    Raises
    ------
    TriggerError
        The trigger cannot be opened.
    """

    def __init__(self, settings: TriggerSettings) -> None:
        self._settings = settings
        self._trigger = open_trigger(settings)
        self._pulses_s: list[float] = []
        self._volumes_s: dict[int, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="trigger", daemon=True)

    def came(self, volume: Volume) -> None:
        """Note a volume by its `due_s`."""
        if not self._volumes_s and not self._pulses_s:
            logger.warning(
                "volume %d came before any pulse of the %s trigger %s: see whether it is connected",
                volume.index,
                self._settings.kind,
                self._settings.device,
            )
        self._volumes_s.setdefault(volume.index, volume.due_s)

    def summary(self, period_s: float) -> TriggerSummary:
        """All of it compared, for volumes `period_s` apart."""
        return reconcile(tuple(self._pulses_s), self._volumes_s, period_s, self._settings.delay_s).summary()

    def __enter__(self) -> "RunPulses":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._trigger.close()

    def _listen(self) -> None:
        try:
            while not self._over.is_set():
                self._pulses_s.extend(self._trigger.wait(_LOOK_S))
        except TriggerError as error:
            logger.error("%s; the run goes on without pulses", error)
