"""The Unix socket between workers and the control process: rules down, evidence up, never waited for.

Frames are length, kind, payload. A batch of evidence is sent again until it is acknowledged, and
carries its source and sequence, so that the store counts it exactly once.
"""

from understudy.link.batch import Batch, decode_batch, encode_batch
from understudy.link.frames import Frames, Kind, LinkError, frame, json_frame
from understudy.link.outbox import Outbox

__all__ = [
    "Batch",
    "Frames",
    "Kind",
    "LinkError",
    "Outbox",
    "decode_batch",
    "encode_batch",
    "frame",
    "json_frame",
]
