from refers_bench.api import DrawnFigure as DrawnFigure
from refers_bench.api import JobsFailed as JobsFailed
from refers_bench.api import StoredResults as StoredResults
from refers_bench.api import UserError as UserError
from refers_bench.api import plan as plan
from refers_bench.api import results as results
from refers_bench.api import run as run

__version__: str
