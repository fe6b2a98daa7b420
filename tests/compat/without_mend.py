"""Runs a fairseq command without one mend: python without_mend.py MEND COMMAND [arguments]. no_mend: with all."""

import importlib
import sys

import labo_fairseq_hook

if __name__ == "__main__":
    name, command = sys.argv[1], sys.argv[2]
    labo_fairseq_hook._loader_module()
    mends = sys.modules["_labo_fairseq_compat.mends"]
    tables = [*mends.SOURCE_MENDS.values(), *mends.MODULE_MENDS.values()]
    holders = [table for table in tables if any(mend.__name__ == name for mend in table)]
    assert holders or name == "no_mend", name
    for table in holders:
        table[:] = [mend for mend in table if mend.__name__ != name]
    sys.argv = [command, *sys.argv[3:]]
    module = importlib.import_module(command.replace("fairseq-", "fairseq_cli.").replace("-", "_"))
    sys.exit(module.cli_main())
