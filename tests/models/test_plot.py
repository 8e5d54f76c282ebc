import io

import numpy as np
from PIL import Image

from caudal.models.backtest import run_backtest
from caudal.models.baseline import seasonal_naive
from caudal.models.plot import largest_series, plot_backtest


def drawn(panel, methods):
    backtest = run_backtest(panel, 14, 2, methods)
    return backtest, Image.open(io.BytesIO(plot_backtest(panel, backtest, "sales", "units a day"))).convert("RGB")


def shades(picture: Image.Image, colour: tuple[int, int, int]) -> int:
    """How many pixels come close to a colour."""
    apart = np.abs(np.asarray(picture, dtype=int) - np.array(colour)).max(axis=-1)
    return int((apart < 24).sum())


def test_the_plot_shows_the_challenger_and_the_champion_only_where_there_is_one(weekly_panel):
    panel = weekly_panel({name: level for level, name in enumerate("abcdefgh", start=1)}, 120)
    naive = {"baseline": lambda known: seasonal_naive(known, 14), "challenger": lambda known: seasonal_naive(known, 14) * 1.2}
    _, without = drawn(panel, naive)
    _, with_champion = drawn(panel, {**naive, "champion": lambda known: seasonal_naive(known, 14) * 0.8})
    orange, blue = (217, 72, 15), (28, 126, 214)
    assert without.size == (1210, 836)
    assert shades(without, orange) > 1000
    assert shades(without, blue) == 0
    assert shades(with_champion, blue) > 1000


def test_the_largest_series_come_first_and_at_most_six(weekly_panel):
    panel = weekly_panel({name: level for level, name in enumerate("abcdefgh", start=1)}, 120)
    backtest, _ = drawn(panel, {"challenger": lambda known: seasonal_naive(known, 14)})
    assert largest_series(backtest) == ("h", "g", "f", "e", "d", "c")


def test_negative_values_and_a_single_series_can_be_drawn(weekly_panel):
    backtest, picture = drawn(weekly_panel({"returns": -5}, 120), {"challenger": lambda known: seasonal_naive(known, 14)})
    assert largest_series(backtest) == ("returns",)
    assert shades(picture, (217, 72, 15)) > 300


def test_a_year_of_real_size_stays_below_what_a_page_takes(weekly_panel):
    panel = weekly_panel({f"s{i}": i + 1 for i in range(30)}, 365)
    methods = {"baseline": lambda known: seasonal_naive(known, 14), "challenger": lambda known: seasonal_naive(known, 14)}
    assert len(plot_backtest(panel, run_backtest(panel, 14, 12, methods), "sales")) < 200_000
