"""Where every byte of the limit was at the peak of a memray pass: the kernel's view and memray's, put together by address."""

from profiling.judging.ledger.account import make_ledger
from profiling.judging.ledger.recorded import explain_with_ledger

__all__ = ["explain_with_ledger", "make_ledger"]
