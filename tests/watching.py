"""A protocol that is watched: what it opens, and what it masks that with."""

from mpckit.ask import Draw, Open, Round


def watched(protocol, opened, drawn=None):
    """The same protocol; what it opens goes to `opened`, the masks that it draws to `drawn`."""

    def run(*args):
        generator, reply = protocol(*args), None
        while True:
            try:
                ask = generator.send(reply)
            except StopIteration as stop:
                return stop.value
            reply = yield ask
            if isinstance(ask, Draw):
                drawn is not None and drawn.append(reply[0].data)
            for item, answer in zip(ask.asks, reply) if isinstance(ask, Round) else [(ask, reply)]:
                if isinstance(item, Open):
                    opened.extend(answer if isinstance(answer, tuple) else (answer,))

    return run
