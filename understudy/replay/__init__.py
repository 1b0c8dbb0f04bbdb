"""Record and replay: ask two versions the requests of a recording, and report as of live traffic."""

from understudy.replay.entry import REASONS, Recorded
from understudy.replay.pace import Due, as_recorded, at_once, at_rate
from understudy.replay.playback import Playback, Progress, Replay
from understudy.replay.recording import Recording, RecordingError, Selection, read_recording
from understudy.replay.side import Wording

__all__ = [
    "REASONS",
    "Due",
    "Playback",
    "Progress",
    "Recorded",
    "Recording",
    "RecordingError",
    "Replay",
    "Selection",
    "Wording",
    "as_recorded",
    "at_once",
    "at_rate",
    "read_recording",
]
