"""Who met which variant: collected beside the request path, bounded, sampled by unit."""

from understudy.exposures.sampling import is_sampled
from understudy.exposures.sightings import Meetings, Sightings
from understudy.exposures.told import Told, read_told

__all__ = ["Meetings", "Sightings", "Told", "is_sampled", "read_told"]
