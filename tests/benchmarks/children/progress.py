"""What an item of a loop takes beyond the loop itself, one way for each process: ``progress.py OUT WAY SECONDS``.

Each loop lasts about so many seconds: on a terminal, a bar that is never painted would be none.
"""

import sys

from timing import per_item, say

FEW = 50_000


def by_plain():
    def through(number):
        for _ in range(number):
            pass

    return through


def by_track():
    from supervisor import supervise

    run = supervise("loops", journal=False).__enter__()

    def through(number):
        for _ in run.track(range(number)):
            pass

    return through


def by_progress():
    from supervisor import supervise

    run = supervise("loops", journal=False).__enter__()
    progress = run.progress

    def through(number):
        for done in range(number):
            progress(done)

    return through


def by_progress_with_total():
    from supervisor import supervise

    run = supervise("loops", journal=False).__enter__()
    progress = run.progress

    def through(number):
        for done in range(number):
            progress(done, number)

    return through


def by_tqdm():
    from tqdm import tqdm

    def through(number):
        for _ in tqdm(range(number)):
            pass

    return through


def by_tqdm_update():
    from tqdm import tqdm

    def through(number):
        with tqdm(total=number) as bar:
            update = bar.update
            for _ in range(number):
                update()

    return through


def by_rich():
    from rich.progress import track

    def through(number):
        for _ in track(range(number)):
            pass

    return through


def by_rich_advance():
    from rich.progress import Progress

    def through(number):
        with Progress() as bar:
            task = bar.add_task("loops", total=number)
            advance = bar.advance
            for _ in range(number):
                advance(task)

    return through


def by_alive():
    from alive_progress import alive_it

    def through(number):
        for _ in alive_it(range(number)):
            pass

    return through


def by_alive_bar():
    from alive_progress import alive_bar

    def through(number):
        with alive_bar(number) as bar:
            for _ in range(number):
                bar()

    return through


if __name__ == "__main__":
    through, lasting_s = globals()[f"by_{sys.argv[2]}"](), float(sys.argv[3])
    number = int(FEW * max(1.0, lasting_s / (per_item(through, FEW, 1) * FEW)))
    plain = per_item(by_plain(), max(FEW, min(number, 1_000_000)))
    say({"plain": plain, "more": per_item(through, number, 3) - plain})
