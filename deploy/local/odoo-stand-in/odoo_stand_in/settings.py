"""What the process is told: command line over odoo.conf over defaults, and the stand-in's own environment variables."""

import argparse
import configparser
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

#: Failures that can be switched on; the README says what each one does.
FAULTS = frozenset({'cron', 'hang', 'health', 'login', 'memory', 'start', 'stop', 'update', 'view'})


@dataclass(frozen=True)
class Settings:
    command: str
    db_name: str
    db_host: str | None
    db_port: int | None
    db_user: str | None
    db_password: str | None = field(repr=False)
    db_maxconn: int
    dbfilter: str
    data_dir: Path
    http_interface: str
    http_port: int
    serves_http: bool
    proxy_mode: bool
    max_cron_threads: int
    limit_memory_soft: int
    init: tuple[str, ...]
    update: tuple[str, ...]
    languages: tuple[str, ...]
    stop_after_init: bool
    to_stdout: bool
    application_name: str
    module_version: str
    load_seconds: float
    poll_seconds: float
    stop_seconds: float
    faults: frozenset[str]

    def serves_database(self, name: str, host: str) -> bool:
        """Whether the dbfilter lets a log-in at this host ask for this database."""
        label = host.split(':')[0].removeprefix('www.').split('.')[0]
        pattern = self.dbfilter.replace('%h', re.escape(host.split(':')[0])).replace('%d', re.escape(label))
        return name == self.db_name and re.match(pattern, name) is not None


def read_settings(argv: list[str]) -> Settings:
    """Ends the process with exit code 2 and a line on stderr when something cannot be used."""
    parser = _parser()
    given = parser.parse_args(argv)
    if given.workers not in (None, 0):
        parser.error('the stand-in has no workers')
    conf = _read_conf(parser, given.config or os.environ.get('ODOO_RC'))

    def option(name: str, default: str | None = None) -> str | None:
        value = getattr(given, name, None)
        if value is None:
            value = conf.get(name, default)
        return None if value in (None, '', 'None', 'False', 'false') else str(value)

    def names(value: str | None) -> tuple[str, ...]:
        return tuple(name.strip() for name in (value or '').split(',') if name.strip())

    db_name = option('db_name')
    if not db_name or ',' in db_name:
        parser.error('the stand-in wants exactly one database: db_name in the config file, or -d')
    environment = os.environ
    faults = frozenset(names(environment.get('ODOO_STAND_IN_FAULTS')))
    if faults - FAULTS:
        parser.error(f'ODOO_STAND_IN_FAULTS: there are only {", ".join(sorted(FAULTS))}')
    pid = str(os.getpid())
    try:
        return Settings(
            command=given.command,
            db_name=db_name,
            db_host=option('db_host'),
            db_port=int(option('db_port') or 0) or None,
            db_user=option('db_user'),
            db_password=option('db_password'),
            db_maxconn=int(option('db_maxconn', '64') or 64),
            dbfilter=option('dbfilter') or '.*',
            data_dir=Path(option('data_dir') or '/var/lib/odoo'),
            http_interface=option('http_interface') or '',
            http_port=int(option('http_port', '8069') or 0),
            serves_http=not given.no_http,
            proxy_mode=option('proxy_mode') is not None,
            max_cron_threads=int(option('max_cron_threads', '2') or 0),
            limit_memory_soft=int(option('limit_memory_soft', str(2 * 1024**3)) or 0),
            init=names(given.init),
            update=names(given.update),
            languages=names(given.load_language),
            stop_after_init=given.stop_after_init,
            to_stdout=given.stdout,
            application_name=environment.get('ODOO_PGAPPNAME', 'odoo-{pid}').replace('{pid}', pid)[:63],
            module_version=environment.get('ODOO_STAND_IN_MODULE_VERSION', '18.0.1.3'),
            load_seconds=float(environment.get('ODOO_STAND_IN_LOAD_SECONDS', '2.5')),
            poll_seconds=float(environment.get('ODOO_STAND_IN_POLL_SECONDS', '60')),
            stop_seconds=float(environment.get('ODOO_STAND_IN_STOP_SECONDS', '2')),
            faults=faults,
        )
    except ValueError as error:
        parser.error(f'a number is wanted: {error}')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='odoo-stand-in', description=__doc__)
    parser.add_argument('--version', action='version', version='odoo-stand-in for Odoo 18.0 (it is not Odoo)')
    parser.add_argument('command', nargs='?', choices=('server', 'neutralize'), default='server')
    parser.add_argument('-c', '--config')
    parser.add_argument('-d', '--database', dest='db_name')
    parser.add_argument('-r', '--db_user')
    parser.add_argument('--db_host')
    parser.add_argument('--db_port')
    parser.add_argument('-D', '--data-dir')
    parser.add_argument('--http-interface')
    parser.add_argument('-p', '--http-port', help='0: any free one, which the log names')
    parser.add_argument('--no-http', action='store_true')
    parser.add_argument('--max-cron-threads')
    parser.add_argument('--workers', type=int)
    parser.add_argument('-i', '--init', help='modules, separated by commas')
    parser.add_argument('-u', '--update', help='modules, separated by commas, or all')
    parser.add_argument('--load-language')
    parser.add_argument('--without-demo', help='taken and without effect: there is no demo data')
    parser.add_argument('--stop-after-init', action='store_true')
    parser.add_argument('--stdout', action='store_true', help='neutralize: print the SQL instead')
    return parser


def _read_conf(parser: argparse.ArgumentParser, file: str | None) -> dict[str, str]:
    if file is None:
        return {}
    conf = configparser.RawConfigParser()
    try:
        with open(file, encoding='utf-8') as text:
            conf.read_file(text)
        return dict(conf['options'])
    except (OSError, UnicodeDecodeError):
        parser.error(f"the config file {file} doesn't exist or is not readable")
    except (configparser.Error, KeyError):
        # Not the error itself: it quotes the line, which may hold a password.
        parser.error(f'the config file {file} has no readable section [options]')
