"""Bytes and seconds for people."""


def size(count: float) -> str:
    """Bytes for people: 512 B, 1.5 kB, 3.4 MB (powers of ten)."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:  # what rounds to a thousand takes the next unit
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def duration(seconds: float) -> str:
    """Seconds for people: 3.2 ms, 1.5 s, 2 min 5 s."""
    if seconds < 0.9995e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 99.95:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
