"""For every pytest run, of the notebooks too: a progress bar depends on the machine, so it cannot be compared."""

import os

os.environ["TQDM_DISABLE"] = "1"
