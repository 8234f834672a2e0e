"""What a console stands at: a session, or a visit of many; where it is heard, stopped and started."""

from collections.abc import Callable
from dataclasses import dataclass

from realtime.broker import LOOPBACK
from realtime.broker_address import BrokerAddress
from realtime.bus import BusSettings
from realtime.config import BrokerSettings, ConsoleSettings, LiveSettings
from realtime.errors import ConfigError
from realtime.session.folder import SessionFolder, topic_name


@dataclass(frozen=True)
class Post:
    """One session, or one visit, from outside.

    Attributes
    ----------
    bus : BusSettings
        Where it is heard.
    embedded : bool
        Its own program runs the broker: none answers before that was started.
    console : ConsoleSettings
        Of the page.
    home : SessionFolder
        What its program holds while it runs.
    session : callable
        The session whose player sounds, or would: STOP goes there.
    start, check : tuple of str
        Arguments of `innerear` that start it, and that check everything and print findings as JSON lines.
    chance : tuple of str
        Arguments of Python that print the band of noise; none where nobody may see what is decoded.
    """

    bus: BusSettings
    embedded: bool
    console: ConsoleSettings
    home: SessionFolder
    session: Callable[[], SessionFolder]
    start: tuple[str, ...]
    check: tuple[str, ...]
    chance: tuple[str, ...] = ()


def bus_of(settings: BrokerSettings, home: SessionFolder) -> BusSettings:
    """Where a session or visit in this folder is heard.

    Raises
    ------
    ConfigError
        It tells nobody anything.
    """
    if not settings.broker:
        raise ConfigError("bus.broker is '': the session would tell a console nothing; write mqtt://HOST:1883 or "
                          "'embedded' there")
    address = BrokerAddress(LOOPBACK, 1883) if settings.broker == "embedded" else settings.address
    return BusSettings(topic_name(home.path), address.host, address.port, address.tls)


def chance_arguments(bundle: object, catalogue: object) -> tuple[str, ...]:
    """Arguments of Python that print what a decoder reads into noise."""
    return ("-m", "realtime.console.chance", str(bundle), str(catalogue))


def post_of_session(settings: LiveSettings, options: tuple[str, ...]) -> Post:
    """Where a console of one session stands.

    Parameters
    ----------
    settings : LiveSettings
        The live program's own.
    options : tuple of str
        Of the command line, for the programs that the console starts: the same settings for all.
    """
    home = SessionFolder(settings.session)
    chance = () if settings.blinded else chance_arguments(settings.bundle, settings.catalogue)
    return Post(bus_of(settings.bus, home), settings.bus.broker == "embedded", settings.console, home, lambda: home,
                ("live", *options, "--quiet"), ("check", *options, "--lines"), chance)
