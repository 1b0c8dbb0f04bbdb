"""Damaged dialogues between several clients, the proxy, a service and its shadow, judged by a second reader.

Each dialogue is drawn from a seed of its own; ``python http1_fuzz.py COUNT [SEED]`` tells as many as you
like, and ``python http1_fuzz.py 1 SEED FIRST`` tells one again.
"""

import asyncio
import random
import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import h11
from http1_reader import Message, Reading, read_answers, read_requests
from http1_words import ANSWER_SPICES, SPICES, a_habit, a_request, an_answer, cut, damaged
from http1_world import PRIMARY, SHADOW, Wire, World

from understudy.proxy.connection import ClientConnection
from understudy.proxy.line import BODY, HEAD, IDLE
from understudy.upstream import UpstreamConnection


class Broken(AssertionError):
    """An invariant does not hold."""


def claim(holds: object, what: str, *evidence: object) -> None:
    """Raise `Broken` unless *holds*."""
    if not holds:
        raise Broken(what + "".join(f"\n  {item!r}" for item in evidence))


# -- who says it -------------------------------------------------------------------------------------------


@dataclass
class Speaker:
    """A client: what it says, in pieces, and what came of it."""

    wire: Wire
    said: bytes
    pieces: list[bytes]
    heard: bytes = b""
    told: bytes = b""
    leaves: str = ""
    is_polite: bool = False

    @property
    def may_speak(self) -> bool:
        """Whether it has something to say, and is heard."""
        phase = cast(ClientConnection, self.wire.protocol).phase
        is_its_turn = not self.is_polite or phase in (IDLE, HEAD, BODY)
        return (
            not self.wire.is_lost
            and self.wire.is_reading
            and is_its_turn
            and bool(self.leaves or self.pieces)
        )


@dataclass
class Listener:
    """A service's end of one connection: what it is about to answer."""

    wire: Wire
    is_primary: bool
    answered: int = 0
    pieces: list[bytes] = field(default_factory=list)
    closes: bool = False
    sent_until: int = 0
    asked: Reading = field(default_factory=Reading)
    asked_bytes: int = 0
    tokens: list[bytes] = field(default_factory=list)


Move = Callable[[], Awaitable[None]]


class Dialogue:
    """One scene: draws who speaks next until nobody has anything to say, then lets time pass."""

    def __init__(self, world: World, dice: random.Random) -> None:
        self.world = world
        self.dice = dice
        self.tokens: dict[bytes, tuple[str, bytes]] = {}
        self.listeners: dict[int, Listener] = {}
        self.is_calm = dice.random() < 0.15
        self.speakers = [self._speaker(number) for number in range(dice.randrange(1, 4))]

    def _speaker(self, number: int) -> Speaker:
        dice = self.dice
        habit = a_habit(dice, number)
        said = [a_request(dice, number * 10 + n, habit) for n in range(dice.randrange(1, 6))]
        if self.is_calm:  # a client of HTTP/1.0 is rightly closed after many an answer
            said = [request.replace(b" HTTP/1.0\r\n", b" HTTP/1.1\r\n") for request in said]
        for _ in range(0 if self.is_calm else dice.choice([0, 1, 1, 2, 3])):
            at = dice.randrange(len(said))
            said[at] = damaged(dice, said[at], SPICES)
        is_polite = dice.random() < 0.4  # one request in a read, after the answer to the one before
        leaves = "" if self.is_calm else dice.choice(["", "", "", "eof", "reset"])
        whole = b"".join(said)
        pieces = said if is_polite else cut(dice, whole)
        return Speaker(self.world.client(number), whole, pieces, leaves=leaves, is_polite=is_polite)

    async def play(self) -> None:
        """Say everything, then wait until nobody waits."""
        for _ in range(3000):
            moves = self._moves()
            if not moves:
                await self.world.turn()
                moves = self._moves()
            if not moves:
                break
            await self.dice.choice(moves)()
            if self.dice.random() < 0.8:
                await self.world.turn()
        await self.world.turn()
        for _ in range(60):
            self.world.advance(5.0)
            await self.world.turn()
            while self.world.loop.asked:
                await self.world.let_connect(is_refused=False)
            if not self.world.proxy.connections and all(wire.is_lost for wire in self.world.loop.services):
                break

    def _moves(self) -> list[Move]:
        moves: list[Move] = []
        for speaker in self.speakers:
            if speaker.may_speak:
                moves.append(partial(self._speak, speaker))
        if self.world.loop.asked:
            moves.append(self._connect)
        for wire in self.world.loop.services:
            listener = self.listeners.setdefault(id(wire), Listener(wire, wire.peer[1] == PRIMARY))
            if not wire.is_lost and (listener.pieces or listener.closes or self._question(listener)):
                moves.append(partial(self._answer, listener))
            elif not (wire.is_lost or self.is_calm) and self.dice.random() < 0.03:
                moves.append(partial(self._poison, listener))
        return moves

    async def _speak(self, speaker: Speaker) -> None:
        protocol, wire = speaker.wire.protocol, speaker.wire
        if speaker.pieces:
            piece = speaker.pieces.pop(0)
            speaker.told += piece
            protocol.data_received(piece)
            return
        leaves, speaker.leaves = speaker.leaves, ""
        if leaves == "reset":
            wire.lose(ConnectionResetError())
        elif not protocol.eof_received():
            wire.close()

    async def _connect(self) -> None:
        await self.world.let_connect(is_refused=not self.is_calm and self.dice.random() < 0.05)

    def _question(self, listener: Listener) -> Message | None:
        """The request that this connection has to answer next."""
        if len(listener.wire.written) != listener.asked_bytes:
            listener.asked_bytes = len(listener.wire.written)
            listener.asked = read_requests(bytes(listener.wire.written))
        reading = listener.asked
        messages = reading.messages
        if reading.broken is not None and not self.is_calm and self.dice.random() < 0.05:
            messages = [*messages, reading.broken]  # an early answer
        claim(len(messages) <= listener.answered + 1, "two requests at once", listener.wire.written)
        return messages[listener.answered] if len(messages) > listener.answered else None

    async def _answer(self, listener: Listener) -> None:
        dice, wire = self.dice, listener.wire
        if not listener.pieces and not listener.closes:
            question = self._question(listener)
            if question is not None:
                self._prepare(listener, question)
            return
        if len(wire.written) != listener.sent_until:  # lent anew: the rest would be another's answer
            listener.pieces, listener.closes = [], False
            return
        if listener.pieces:
            if wire.is_reading:
                wire.protocol.data_received(listener.pieces.pop(0))
            elif dice.random() < 0.2:
                listener.pieces.clear()
            return
        listener.closes = False
        if self.is_calm or dice.random() < 0.7:
            wire.protocol.eof_received()
        wire.lose(None if self.is_calm or dice.random() < 0.5 else ConnectionResetError())

    async def _poison(self, listener: Listener) -> None:
        """Say something that nobody asked for, if all that was asked is answered."""
        is_done = cast(UpstreamConnection, listener.wire.protocol).served == listener.answered
        if is_done and len(listener.wire.written) == listener.sent_until:
            answer, _ = an_answer(self.dice, self._token("nobody", b""), method=b"GET")
            listener.wire.protocol.data_received(self.dice.choice(cut(self.dice, answer)))

    def _token(self, peer: str, target: bytes) -> bytes:
        token = b"<%08x>" % self.dice.getrandbits(32)
        self.tokens[token] = (peer, target)
        return token

    def _prepare(self, listener: Listener, question: Message) -> None:
        dice = self.dice
        forwarded = question.values(b"x-forwarded-for")
        claim(len(forwarded) == 1, "one X-Forwarded-For", question)
        token = self._token(forwarded[0].decode() if listener.is_primary else "nobody", question.start[1])
        wire, closes = an_answer(dice, token, method=question.start[0])
        closes = closes or (not self.is_calm and dice.random() < 0.1)
        for _ in range(0 if self.is_calm else dice.choice([0, 0, 1, 2])):
            wire = damaged(dice, wire, ANSWER_SPICES)
        listener.answered += 1
        listener.pieces, listener.closes = cut(dice, wire), closes
        listener.sent_until = len(listener.wire.written)

    # -- what must hold ------------------------------------------------------------------------------------

    def judge(self) -> None:
        """Raise `Broken` for the first invariant that does not hold."""
        world = self.world
        claim(not world.logged and not world.loop.faults, "a fault of ours", world.logged, world.loop.faults)
        claim(not world.proxy.connections, "a client that hangs", world.proxy.connections)
        for pool in world.proxy.engine.pools:
            claim(repr(pool).endswith("open=0 idle=0 opening=0 waiting=0>"), "a connection that hangs", pool)
        claim(world.mirror.held == 0, "copies held", world.mirror.held)
        claim(not world.metrics.mirror_errors, "a fault of the mirror")
        readings = {speaker.wire.peer[0]: read_requests(speaker.told) for speaker in self.speakers}
        seen: dict[str, list[Message]] = {peer: [] for peer in readings}
        for wire in world.loop.services:
            self._judge_service(wire, readings, seen)
        for speaker in self.speakers:
            self._judge_client(speaker, readings[speaker.wire.peer[0]])

    def _judge_service(
        self, wire: Wire, readings: dict[str, Reading], seen: dict[str, list[Message]]
    ) -> None:
        written = bytes(wire.written)
        reading = read_requests(written)
        claim(reading.state in ("end", "partial"), "malformed at a service", written)
        claim(reading.state == "end" or wire.ending, "half a request on an open connection", written)
        claim(h11_reads(written) == len(reading.messages), "h11 reads it otherwise", written)
        for message in reading.messages:
            peer = message.values(b"x-forwarded-for")[0].decode()
            said = readings[peer]
            meant = [m for m in said.messages if m.start == message.start and m.body == message.body]
            claim(meant or said.state == "unsure", "nobody said this", message, said)
            if meant:
                self._judge_fields(wire, message, meant)
            if wire.peer[1] == PRIMARY:
                seen[peer].append(message)

    def _judge_fields(self, wire: Wire, message: Message, meant: list[Message]) -> None:
        """What goes on is what came, less what ends here: in order, nothing of another request."""
        came = message.end_to_end
        own = [f for f in came if f[0].lower() not in (b"via", b"host")]
        options = [[f for f in m.end_to_end if f[0].lower() != b"host"] for m in meant]
        if wire.peer[1] == SHADOW:
            secret = (b"cookie", b"authorization", b"x-api-key")
            options = [[f for f in o if f[0].lower().replace(b"_", b"-") not in secret] for o in options]
        options = [[f for f in o if f[0].lower() != b"via"] for o in options]
        claim(own in options, "fields of another request", own, options)
        claim(
            message.values(b"host")[0] in [m.host or b"127.0.0.1:1" for m in meant], "another Host", message
        )

    def _judge_client(self, speaker: Speaker, said: Reading) -> None:
        wire, got = speaker.wire, bytes(speaker.wire.written)
        peer = wire.peer[0]
        for token in re.findall(rb"<[0-9a-f]{8}>", got):
            owner = self.tokens.get(token)
            claim(owner is None or owner[0] == peer, "an answer of another client", token, got)
        methods = [message.start[0] for message in said.messages]
        methods.append(said.broken.start[0] if said.broken is not None else b"")
        answers = read_answers(got, methods, is_closed=wire.ending == "eof")
        is_cut = wire.ending in ("abort", "lost")
        if said.state == "unsure":
            return
        claim(
            answers.state == "end" or (is_cut and answers.state == "partial"), "a malformed answer", got, said
        )
        claim(len(answers.messages) <= len(methods), "more answers than requests", got, said)
        if self.is_calm:
            claim(len(answers.messages) == len(said.messages), "a good request without an answer", got, said)
            claim(
                not any(b"problem+json" in a.raw for a in answers.messages),
                "a good request refused",
                got,
                said,
            )
        for at, answer in enumerate(answers.messages):
            self._judge_answer(answer, said, at)
        left_whole = speaker.leaves == "" and not is_cut and not speaker.pieces
        if (
            said.state == "bad"
            and left_whole
            and wire.ending == "eof"
            and len(answers.messages) > len(said.messages)
        ):
            refusal = answers.messages[len(said.messages)]
            is_early = said.broken is not None  # an answer before the fault in the body
            claim(is_early or refusal.start[0][:1] in b"45", "a malformed request answered", refusal, said)
            claim(len(answers.messages) == len(said.messages) + 1, "an answer after the refusal", got, said)

    def _judge_answer(self, answer: Message, said: Reading, at: int) -> None:
        for token in re.findall(rb"<[0-9a-f]{8}>", answer.raw):
            owner = self.tokens.get(token)
            if owner is not None:
                asked = [*said.messages, *([said.broken] if said.broken is not None else [])]
                claim(at < len(asked), "an answer to no request", answer, said)
                claim(owner[1] == asked[at].start[1], "the answer to another request", answer, said)


def h11_reads(written: bytes) -> int:
    """How many whole requests h11 finds. Raises `Broken` when it finds a fault."""
    count, connection = 0, h11.Connection(our_role=h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(written)
    while True:
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as error:
            raise Broken(f"h11: {error}\n  {written!r}") from error
        if event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
            return count
        if event is h11.PAUSED or isinstance(event, h11.EndOfMessage):
            count += isinstance(event, h11.EndOfMessage)
            if connection.our_state is h11.SEND_RESPONSE:
                connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
            if connection.our_state is h11.DONE and connection.their_state is h11.DONE:
                connection.start_next_cycle()


async def tell(count: int, seed: int, first: int = 0) -> dict[str, int]:
    """Play and judge *count* dialogues from number *first*. Returns counts of what happened."""
    counts = {"dialogues": 0, "requests": 0, "copies": 0, "answers": 0}
    async with asyncio.TaskGroup() as tasks:
        world = World(tasks.create_task, random.Random(seed))
        for number in range(first, first + count):
            dialogue = Dialogue(world, random.Random(f"{seed}:{number}"))
            try:
                await dialogue.play()
                dialogue.judge()
            except Exception as error:
                raise Broken(f"dialogue {number} of seed {seed}: {error}") from error
            counts["dialogues"] += 1
            for wire in world.loop.services:
                counts["requests" if wire.peer[1] == PRIMARY else "copies"] += wire.written.count(
                    b"X-Forwarded-For: "
                )
            counts["answers"] += sum(s.wire.written.count(b"HTTP/1.1 ") for s in dialogue.speakers)
            world.forget()
            world.metrics.errors.clear()
    return counts


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    print(asyncio.run(tell(numbers[0], *(numbers[1:] or [1]))))
