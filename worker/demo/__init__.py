"""The demo: the whole main job in one process, from no stock at all to an audited summary.

Way of the files: `companies` and `traffic` plan from a seed what is sent, `stage` sets up the embedded parts, `story`
plays, `audience` listens, `reckoning` holds what came against what was sent, `summary` tells it.
"""

from worker.demo.running import run_demo

__all__ = ["run_demo"]
