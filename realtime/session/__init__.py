"""One live session: what came in (journal), what was decided (core, record), and the shell that moves it."""
