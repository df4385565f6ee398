"""What the process is told: command line over odoo.conf over defaults, and the stand-in's own environment variables."""

import argparse
import configparser
import os
import re
from dataclasses import dataclass, field, fields
from pathlib import Path

#: Failures that can be switched on; the README says what each one does.
FAULTS = frozenset({'cron', 'hang', 'health', 'login', 'memory', 'start', 'stop', 'update', 'view'})
#: How Odoo writes that an option is not set.
UNSET = ('', 'None', 'False', 'false')


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
    no_http: bool
    proxy_mode: bool
    max_cron_threads: int
    limit_memory_soft: int
    init: tuple[str, ...]
    update: tuple[str, ...]
    load_language: tuple[str, ...]
    stop_after_init: bool
    stdout: bool
    application_name: str
    module_version: str
    load_seconds: float
    poll_seconds: float
    stop_seconds: float
    faults: frozenset[str]

    def serves_database(self, name: str, host: str) -> bool:
        """Whether the dbfilter lets a log-in at this host ask for this database."""
        host = host.split(':')[0]
        label = host.removeprefix('www.').split('.')[0]
        pattern = self.dbfilter.replace('%h', re.escape(host)).replace('%d', re.escape(label))
        return name == self.db_name and re.match(pattern, name) is not None


def read_settings(argv: list[str]) -> Settings:
    """Ends the process with exit code 2 and a line on stderr when something cannot be used."""
    parser = _parser()
    conf = _read_conf(parser, parser.parse_args(argv).config)
    # Without what only Odoo has a use for. A default that is a text is converted as if it were given.
    known = {one.name for one in fields(Settings)}
    parser.set_defaults(**{name: value for name, value in conf.items() if name in known and value not in UNSET})
    given = parser.parse_args(argv)
    if given.workers != 0:
        parser.error('the stand-in has no workers')
    if not given.db_name or ',' in given.db_name:
        parser.error('the stand-in wants exactly one database: db_name in the config file, or -d')
    if set(given.faults) - FAULTS:
        parser.error(f'ODOO_STAND_IN_FAULTS: there are only {", ".join(sorted(FAULTS))}')
    return Settings(**{name: value for name, value in vars(given).items() if name in known})


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(',') if name.strip())


def _flag(text: str) -> bool:
    return text.lower() in ('true', '1')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='odoo-stand-in', description=__doc__)
    add = parser.add_argument
    add('--version', action='version', version='odoo-stand-in for Odoo 18.0 (it is not Odoo)')
    add('command', nargs='?', choices=('server', 'neutralize'), default='server')
    add('-c', '--config', default=os.environ.get('ODOO_RC'))
    add('-d', '--database', dest='db_name')
    add('-r', '--db_user')
    add('--db_host')
    add('--db_port', type=int)
    add('--db_maxconn', type=int, default=64)
    add('--db-filter', dest='dbfilter', default='.*')
    add('-D', '--data-dir', type=Path, default=Path('/var/lib/odoo'))
    add('--http-interface', default='')
    add('-p', '--http-port', type=int, default=8069, help='0: any free one, which the log names')
    add('--no-http', action='store_true')
    add('--proxy-mode', nargs='?', const=True, type=_flag, default=False)
    add('--max-cron-threads', type=int, default=2)
    add('--limit-memory-soft', type=int, default=2 * 1024**3)
    add('--workers', type=int, default=0)
    add('-i', '--init', type=_names, default=(), help='modules, separated by commas')
    add('-u', '--update', type=_names, default=(), help='modules, separated by commas, or all')
    add('--load-language', type=_names, default=())
    add('--without-demo', help='taken and without effect: there is no demo data')
    add('--stop-after-init', action='store_true')
    add('--stdout', action='store_true', help='neutralize: print the SQL instead')
    # Not on the command line: a password would be in the list of processes, and the rest is not Odoo's.
    name = os.environ.get('ODOO_PGAPPNAME', 'odoo-{pid}').replace('{pid}', str(os.getpid()))
    parser.set_defaults(db_password=None, application_name=name[:63])
    parser.set_defaults(
        module_version=os.environ.get('ODOO_STAND_IN_MODULE_VERSION', '18.0.1.3'),
        faults=frozenset(_names(os.environ.get('ODOO_STAND_IN_FAULTS', ''))),
    )
    for name, seconds in {'load_seconds': '2.5', 'poll_seconds': '60', 'stop_seconds': '2'}.items():
        try:
            parser.set_defaults(**{name: float(os.environ.get(f'ODOO_STAND_IN_{name.upper()}', seconds))})
        except ValueError:
            parser.error(f'ODOO_STAND_IN_{name.upper()} is a number of seconds')
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
