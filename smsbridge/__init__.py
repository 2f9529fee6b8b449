"""
One daemon that joins phone lines and people's chat programs, and loses nothing in between.

Where things are, in the order in which a message meets them:

- ``gateways/``    one folder for each kind of peer: a pure codec, a thin protocol, the glue, and a
                   simulator; ``load(kind)`` imports the folder that a configuration names
- ``provider/``    what all telephony providers share: everything with time and sockets, and the
                   simulated provider; a provider's own folder in ``gateways/`` is pure
- ``interfaces``   the contract between a gateway, the core and the store, in its docstrings
- ``core/``        addresses, messages, routing, retries, the dispatcher; knows no gateway or store
- ``store/``       the tables, the group-commit writer, the queries; SQLite, MariaDB and PostgreSQL
- ``web/``         what is reached over HTTP: health, metrics, the control socket, gateways' hooks
- ``keys``         how a section of the ini file is declared, beside the code that uses it
- ``config``       ini files turned into frozen values; the one module that reads them
- ``errors``       what a gateway raises when a hop refuses a message, for now or for good
- ``simulation``   the prompt and the scripts that drive what ``smsbridge simulate`` plays
- ``cli/``         the ``smsbridge`` command, which talks to the daemon over its control socket
- ``daemon``       builds the gateways from a configuration and applies changes to it
- ``tap``          what twistd starts: the one place where all parts meet

A message goes ``gateway -> accept -> store -> dispatcher -> gateway -> store``, and no other way.
"""

__version__ = "0.1.0"
