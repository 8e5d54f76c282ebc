"""Datasets: which lake files belong to them, and to which partition."""

import datetime as dt

import pytest

from caudal.lake.dataset import Dataset


def dataset(contract=None, **settings):
    return Dataset(**({"source": "pos", "name": "sales", "format": "csv", "contract": contract} | settings))


def daily(**settings):
    given = {"path": "{day:%Y-%m-%d}.csv", "partition_by": "day", "start": dt.datetime(2017, 1, 1)}  # noqa: DTZ001
    return dataset(**(given | settings))


def test_its_names_follow_from_source_and_name():
    one = dataset()
    assert (one.id, one.table, one.prefix) == ("pos/sales", "pos__sales", "pos/sales")


@pytest.mark.parametrize("name", ["Sales", "1sales", "a__b", "", "a-b", "a b", "ä"])
def test_a_name_that_would_not_be_one_everywhere_is_refused(name):
    with pytest.raises(ValueError, match="expected lower-case letters, digits and single underscores"):
        dataset(name=name)


def test_files_belong_by_their_name():
    one = dataset(path="*.csv")
    assert one.refusal("pos/sales/a.csv") is None
    assert one.refusal("pos/sales/a.CSV") == "the name does not match the declared path `*.csv`"
    assert one.partition_of("pos/sales/a.csv") is None
    assert dataset(path="a[1].csv").refusal("pos/sales/a[1].csv") is not None
    assert dataset(path="a[1].csv").refusal("pos/sales/a1.csv") is None


def test_a_partition_for_each_file_is_its_path_below_the_prefix():
    assert dataset(partition_by="file").partition_of("pos/sales/2017/a.csv") == "2017/a.csv"


def test_the_day_stands_in_the_name():
    one = daily(path="year/{day:%Y%m%d}-*.csv")
    assert one.partition_of("pos/sales/year/20170131-north.csv") == "2017-01-31"
    assert one.refusal("pos/sales/year/20170131-north.csv") is None
    assert "does not match the declared path" in one.refusal("pos/sales/year/2017-01-31-north.csv")
    assert "does not hold a day" in one.refusal("pos/sales/year/20170231-north.csv")
    with pytest.raises(ValueError, match="does not match the declared path"):
        one.partition_of("pos/sales/other.csv")


def test_the_hour_stands_in_the_name():
    one = daily(path="{hour:%Y-%m-%dT%H}.csv", partition_by="hour")
    assert one.partition_of("pos/sales/2017-01-31T07.csv") == "2017-01-31-07:00"


def test_what_is_before_the_first_or_after_the_last_partition_is_refused():
    one = daily(end=dt.datetime(2017, 2, 1))  # noqa: DTZ001
    assert one.refusal("pos/sales/2017-01-01.csv") is None
    assert one.refusal("pos/sales/2017-01-31.csv") is None
    for outside in ("2016-12-31", "2017-02-01"):
        assert "is outside the declared partitions" in one.refusal(f"pos/sales/{outside}.csv")


def test_time_partitions_need_a_start_and_a_place_in_the_name():
    with pytest.raises(ValueError, match="partition_by day needs `start`, the first day"):
        daily(start=None)
    with pytest.raises(ValueError, match=r"it must say where in the name the day stands, such as `\{day:%Y-%m-%d\}.csv`"):
        daily(path="*.csv")
    with pytest.raises(ValueError, match="%Q is not understood; known are %Y"):
        daily(path="{day:%Q}.csv")


def test_letters_around_the_moment_are_taken_as_they_are():
    one = daily(path="sales.{day:%d.%m.%Y}.csv")
    assert one.partition_of("pos/sales/sales.31.01.2017.csv") == "2017-01-31"
    assert one.refusal("pos/sales/salesx31.01.2017.csv") is not None
    assert one.refusal("pos/sales/sales.31x01x2017.csv") is not None
