"""python -m odoo_stand_in [server|neutralize] [options]"""

import logging
import os
import sys

from . import modules, server
from .database import Pool
from .settings import read_settings


def main() -> int:
    settings = read_settings(sys.argv[1:])
    # Odoo's columns, for those who look for WARNING and ERROR in them.
    logging.basicConfig(
        level=logging.INFO,
        format=f'%(asctime)s {os.getpid()} %(levelname)s {settings.db_name} %(name)s: %(message)s',
    )
    logging.getLogger(__name__).info('This is not Odoo: it is the stand-in for Odoo 18.0 of the local stack')
    if settings.command == 'neutralize':
        modules.neutralize(settings, Pool(settings))
        return 0
    return server.run(settings)


sys.exit(main())
