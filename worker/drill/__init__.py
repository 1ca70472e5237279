"""Drills: what happens once a year, played in a minute with everything embedded.

Way of the files: `companies` and `night` play, `audience` listens, `reckoning` judges, `running` puts it together.
"""

from worker.drill.running import run_new_year

__all__ = ["run_new_year"]
