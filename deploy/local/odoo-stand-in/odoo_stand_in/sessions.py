"""Sessions: a file each below data_dir/sessions, tied to the database's secret and the user's password."""

import hashlib
import hmac
import json
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Session:
    sid: str
    #: uid, login, db and token of who is logged in; empty for a visitor.
    data: dict = field(default_factory=dict)

    def csrf_token(self, secret: str) -> str:
        return hmac.new(secret.encode(), f'csrf {self.sid}'.encode(), hashlib.sha256).hexdigest()


def token_of(secret: str, uid: int, login: str, password_hash: str) -> str:
    """Another secret or another password makes another one, and ends the sessions with the old one."""
    who = json.dumps([uid, login, password_hash])
    return hmac.new(secret.encode(), who.encode(), hashlib.sha256).hexdigest()


class SessionStore:
    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._folder = data_dir / 'sessions'

    def prepare(self) -> None:
        """Raises OSError where nothing can be written."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._data_dir / 'filestore').mkdir(exist_ok=True)

    def load(self, sid: str | None) -> Session:
        """A new one if there is none of this name."""
        if sid and re.fullmatch(r'[A-Za-z0-9_-]{40,100}', sid):
            try:
                return Session(sid, json.loads(self._file(sid).read_text(encoding='utf-8')))
            except (FileNotFoundError, ValueError):
                pass
        return Session(secrets.token_urlsafe(42))

    def save(self, session: Session) -> None:
        file = self._file(session.sid)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        unfinished = file.with_name(f'{file.name}.{secrets.token_hex(4)}')
        unfinished.write_text(json.dumps(session.data), encoding='utf-8')
        unfinished.rename(file)

    def replace(self, session: Session) -> Session:
        """A new one in its place, as at a log-in: a session that somebody planted leads nowhere."""
        self._file(session.sid).unlink(missing_ok=True)
        return Session(secrets.token_urlsafe(42))

    def _file(self, sid: str) -> Path:
        return self._folder / sid[:2] / sid
