"""Any program as a supervised run: ``supervisor run -- COMMAND``.

The command line is read (:mod:`.options`), the run gets a name (:mod:`.naming`), the program is started
(:mod:`.posix`, :mod:`.windows`), its output copied and the last of it kept (:mod:`.output`), signals forwarded and
times watched (:mod:`.watching`), and its end told (:mod:`.ending`). All of it is put together in
:mod:`.supervising`. Nothing here loads what a program that ends well does not need.
"""
