"""A disk that takes nothing, as the kernel makes it: by the limit of a file's size."""

import resource

NONE = 0


class Disk:
    """While it fails, no file of this process can be written: not a byte of SQLite's, and no other.

    The kernel refuses the write (RLIMIT_FSIZE, setrlimit(2)); what is read stands as it was.
    """

    def fail(self) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (NONE, most))

    def mend(self) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
