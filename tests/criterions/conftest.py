import pytest
from _models import make_batch, make_model, make_task


@pytest.fixture
def task():
    return make_task()


@pytest.fixture
def model(task):
    return make_model(task)


@pytest.fixture
def batch(task):
    return make_batch(task.target_dictionary)
