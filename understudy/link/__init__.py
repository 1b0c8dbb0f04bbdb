"""The Unix socket between workers and the control process: rules down, evidence up, never waited for.

Frames are length, kind, payload. A batch of evidence is sent again until it is acknowledged, and
carries its source and sequence, so that the store counts it exactly once.
"""

from understudy.link.batch import Batch, decode_batch, encode_batch
from understudy.link.frames import Frames, Kind, LinkError, frame, json_frame
from understudy.link.outbox import Outbox
from understudy.link.taken import Reel, decode_reel, encode_reel, taken_bytes

__all__ = [
    "Batch",
    "Frames",
    "Kind",
    "LinkError",
    "Outbox",
    "Reel",
    "decode_batch",
    "decode_reel",
    "encode_batch",
    "encode_reel",
    "frame",
    "json_frame",
    "taken_bytes",
]
