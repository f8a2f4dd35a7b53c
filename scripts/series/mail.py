# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""A series on its way through mail: sent for real, received on loopback, applied.

    with Sink() as sink:
        send(files, sink, to, cc)
        faults = threading_faults(sink.mails) + ...

Nothing leaves the machine: git send-email is told the sink's port and reads
no one's configuration.
"""

import dataclasses
import email
import email.header
import email.message
import os
import re
import socketserver
import tempfile
import threading
from pathlib import Path
from types import TracebackType

from series.worktree import Ran, git, need


@dataclasses.dataclass(frozen=True)
class Mail:
    """A mail as it arrived, lines ended by \\n."""

    sender: str
    recipients: tuple[str, ...]
    data: bytes

    @property
    def message(self) -> email.message.Message:
        return email.message_from_bytes(self.data)

    def header(self, name: str) -> str:
        value = self.message[name]
        return "" if value is None else str(email.header.make_header(
            email.header.decode_header(re.sub(r"\n[ \t]+", " ", str(value)))))

    @property
    def text(self) -> str:
        """The body, decoded as its headers say."""
        payload = self.message.get_payload(decode=True)
        assert isinstance(payload, bytes)
        return payload.decode(self.message.get_content_charset("ascii"))


class _Session(socketserver.StreamRequestHandler):
    """RFC 5321, as far as a client needs it that has one mail to deliver."""

    def reply(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self) -> None:
        self.reply("220 loopback sink")
        sender, recipients = "", []
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                self.reply("250-loopback\r\n250 8BITMIME")
            elif verb == b"MAIL":
                sender, recipients = line.decode().split(":", 1)[1].strip(), []
                self.reply("250 ok")
            elif verb == b"RCPT":
                recipients.append(line.decode().split(":", 1)[1].strip().strip("<>"))
                self.reply("250 ok")
            elif verb == b"DATA":
                self.reply("354 go on")
                data = b""
                while (part := self.rfile.readline()) not in (b".\r\n", b""):
                    data += part.removeprefix(b".").replace(b"\r\n", b"\n")
                assert isinstance(self.server, Sink)
                self.server.mails.append(Mail(sender, tuple(recipients), data))
                self.reply("250 ok")
            elif verb == b"QUIT":
                self.reply("221 bye")
                return
            else:
                self.reply("250 ok" if verb in (b"HELO", b"RSET", b"NOOP") else "502 unknown")


class Sink(socketserver.ThreadingTCPServer):
    """An SMTP server on a free port of loopback that keeps what it gets, in order."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.mails: list[Mail] = []
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def __enter__(self) -> "Sink":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.shutdown()
        self.server_close()


def send(files: list[Path], sink: Sink, sender: str, to: list[str], cc: list[str]) -> Ran:
    """git send-email as a submitter would call it, except for where it delivers."""
    name, _, address = sender.rpartition(" <")
    with tempfile.TemporaryDirectory() as home:
        return git(files[0].parent, "send-email", "--smtp-server=127.0.0.1",
                   f"--smtp-server-port={sink.port}", "--smtp-encryption=none",
                   "--smtp-domain=localhost", "--confirm=never", "--no-validate",
                   "--suppress-cc=all", "--8bit-encoding=UTF-8", f"--from={sender}",
                   *[f"--to={a}" for a in to], *[f"--cc={a}" for a in cc],
                   *[str(f) for f in files],
                   env={"HOME": home, "LC_ALL": "C.UTF-8", "GIT_DIR": os.path.join(home, "none"),
                        "GIT_CEILING_DIRECTORIES": "/",
                        "GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": address.rstrip(">"),
                        "GIT_COMMITTER_NAME": name,
                        "GIT_COMMITTER_EMAIL": address.rstrip(">")})


def faults(mails: list[Mail], files: list[Path], to: list[str], cc: list[str]) -> list[str]:
    """What a reader's program would miss: order, threading, addresses, charset."""
    wrong = []
    if len(mails) != len(files):
        return [f"{len(files)} mails sent, {len(mails)} arrived"]
    ids = [m.header("Message-ID") for m in mails]
    if len(set(ids)) != len(ids) or not all(ids):
        wrong.append(f"Message-IDs are not unique: {ids}")
    for at, (mail, file) in enumerate(zip(mails, files)):
        sent = Mail("", (), file.read_bytes())
        name = file.name
        if mail.header("Subject") != sent.header("Subject"):
            wrong.append(f"{name}: arrived in place {at + 1} is {mail.header('Subject')!r}")
        number = re.search(r" (\d+)/(\d+)\]", mail.header("Subject"))
        if len(files) > 1 and (not number or int(number[1]) != at):
            wrong.append(f"{name}: number in the subject is not {at}")
        if at and (mail.header("In-Reply-To") != ids[0]
                   or ids[0] not in mail.header("References").split()):
            wrong.append(f"{name}: not a reply to the first mail")
        if not at and mail.header("In-Reply-To"):
            wrong.append(f"{name}: the first mail is a reply")
        for header, wanted in (("To", to), ("Cc", cc)):
            lost = [a for a in wanted if a not in mail.header(header)
                    or re.sub(".*<|>.*", "", a) not in mail.recipients]
            if lost:
                wrong.append(f"{name}: {header} lost {lost}")
        if max(map(len, mail.data.split(b"\n"))) > 998:
            wrong.append(f"{name}: a line is longer than mail allows")
        try:
            if mail.text.rstrip("\n") != sent.data.decode().split("\n\n", 1)[1].rstrip("\n"):
                # A From: line is put in front where author and sender differ.
                own = re.sub(r"\AFrom: .*\n\n", "", mail.text)
                if own.rstrip("\n") != sent.data.decode().split("\n\n", 1)[1].rstrip("\n"):
                    wrong.append(f"{name}: its text changed on the way")
        except (UnicodeDecodeError, LookupError) as error:
            wrong.append(f"{name}: charset {mail.message.get_content_charset()}: {error}")
    return wrong


def apply(mails: list[Mail], repository: Path, folder: Path) -> tuple[list[str], str]:
    """Applies mails with git am; the commits made, oldest first, and what git said."""
    names = []
    for at, mail in enumerate(mails):
        names.append(folder / f"{at:04d}")
        names[-1].write_bytes(mail.data)
    start = need(git(repository, "rev-parse", "HEAD"), "HEAD").strip()
    ran = git(repository, "am", "-q", *[str(n) for n in names])
    if ran.code:
        git(repository, "am", "--abort")
    made = need(git(repository, "rev-list", "--reverse", f"{start}..HEAD"), "git rev-list").split()
    return made, ran.text


def changed(repository: Path, sent: list[str], got: list[str]) -> list[str]:
    """In what the commits that arrived differ from those that were sent."""
    if len(sent) != len(got):
        return [f"{len(sent)} commits sent, {len(got)} applied"]
    wrong = []
    for one, other in zip(sent, got):
        for what, form in (("content", "%T"), ("message", "%B"), ("author", "%an <%ae>")):
            a, b = (need(git(repository, "log", "-1", f"--format={form}", c), c)
                    for c in (one, other))
            if a != b:
                wrong.append(f"{what} of a commit changed on the way:\n{a}\n{b}")
    return wrong
