"""Attachments: a row in ir_attachment, and the content below data_dir/filestore/DATABASE by its SHA-1."""

import hashlib
import os
from pathlib import Path

from psycopg2.extensions import cursor

from .database import scalar
from .settings import Settings


class Attachments:
    def __init__(self, settings: Settings) -> None:
        self._folder = settings.data_dir / 'filestore' / settings.db_name

    def create(self, sql: cursor, name: str, content: bytes, mimetype: str, url: str | None = None) -> int:
        """The file is written before the row is committed: a row without its file must not be seen."""
        checksum = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        store_name = f'{checksum[:2]}/{checksum}'
        self._write(self._folder / store_name, content)
        sql.execute(
            "INSERT INTO ir_attachment (name, url, store_fname, file_size, checksum, mimetype, create_date)"
            " VALUES (%s, %s, %s, %s, %s, %s, now() AT TIME ZONE 'UTC') RETURNING id",
            (name, url, store_name, len(content), checksum, mimetype),
        )
        return scalar(sql)

    def read(self, sql: cursor, *, ident: int | None = None, url: str | None = None) -> tuple[bytes, str] | None:
        """Content and media type; None without the row or without its file."""
        sql.execute(
            'SELECT store_fname, mimetype FROM ir_attachment WHERE id = %s OR url = %s ORDER BY id DESC LIMIT 1',
            (ident, url),
        )
        row = sql.fetchone()
        if row is None or row[0] is None:
            return None
        try:
            return (self._folder / row[0]).read_bytes(), row[1] or 'application/octet-stream'
        except FileNotFoundError:
            return None

    @staticmethod
    def _write(file: Path, content: bytes) -> None:
        if file.exists():
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_name(f'.{file.name}.{os.getpid()}')
        unfinished.write_bytes(content)
        unfinished.rename(file)
