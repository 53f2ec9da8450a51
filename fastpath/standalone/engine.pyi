"""The enumerations of the matching engine. Its records and functions are for compiled code: see `engine.pxd`."""

from enum import IntEnum

class EngineOp(IntEnum):
    ENGINE_NEW = 1
    ENGINE_CANCEL = 2
    ENGINE_REDUCE = 3
    ENGINE_MODIFY = 4
    ENGINE_MOVE = 5

class EngineFlag(IntEnum):
    ENGINE_POST_ONLY = 1
    ENGINE_POST_ONLY_SLIDE = 2
    ENGINE_HIDDEN = 4
    ENGINE_MARKET = 8
    ENGINE_MARKET_TO_LIMIT = 16
    ENGINE_EXTENDED = 128

class ReportKind(IntEnum):
    REPORT_ACCEPTED = 1
    REPORT_REJECTED = 2
    REPORT_TRADE = 3
    REPORT_CANCELED = 4
    REPORT_REDUCED = 5
    REPORT_MODIFIED = 6
    REPORT_DECREMENTED = 7
