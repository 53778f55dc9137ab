"""The only code, with `offline`, that does I/O or keeps state: sessions, wires and the meter."""
