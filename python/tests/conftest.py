import threading

import pytest

import tutti

SECONDS = 60  # an outer bound; no call comes near


@pytest.fixture(params=[1, 2, 3], ids="{}ranks".format)
def ranks(request):
    """Runs a function at each rank of a group of threads: ranks(function) → what each returned."""
    return Ranks(request.param)


class Ranks:
    def __init__(self, size):
        self.size = size

    def __call__(self, function):
        communicators = tutti.Communicator.local(self.size)
        results = [None] * self.size

        def run(communicator):
            try:
                with communicator:
                    communicator.set_timeout(SECONDS)
                    results[communicator.rank] = function(communicator)
            except BaseException as error:
                results[communicator.rank] = error

        threads = [threading.Thread(target=run, args=(communicator,)) for communicator in communicators]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            # The others failed because one of them did; that one's exception is no tutti.Error.
            raise next((failure for failure in failures if not isinstance(failure, tutti.Error)), failures[0])
        return results


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also the long tests: four ranks, all of torch's own tests, torch.compile")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: runs with --long only")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--long"):
        config.hook.pytest_deselected(items=[item for item in items if "long" in item.keywords])
        items[:] = [item for item in items if "long" not in item.keywords]


@pytest.fixture(scope="session")
def worlds():
    torch_world = pytest.importorskip("torch_world", reason="torch is not installed")
    worlds = torch_world.Worlds()
    yield worlds
    worlds.close()


@pytest.fixture(params=[2, 3, pytest.param(4, marks=pytest.mark.long)], ids="{}ranks".format)
def world(request, worlds):
    """A world of two, of three, and with --long of four ranks that are joined by the backend under test."""
    return worlds.of(request.param)
