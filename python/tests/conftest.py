import pytest

from ranks import Ranks


@pytest.fixture(params=[1, 2, 3], ids="{}ranks".format)
def ranks(request):
    """A group of threads of one, of two and of three ranks, that are joined by a tutti.Communicator."""
    return Ranks(request.param)


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
