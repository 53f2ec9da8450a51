"""The sizes of the packed records in bytes. Their layouts are written down in `structs.pxd`."""

COMMAND_SIZE = sizeof(command_t)
EVENT_SIZE = sizeof(event_t)

if not (sizeof(command_t) == sizeof(asset_def_t) == sizeof(instrument_def_t) == sizeof(account_def_t) == 192
        and sizeof(event_t) == 256):
    raise ImportError("the packed records of fastpath.model.structs do not have their documented sizes")
