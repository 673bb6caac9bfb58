"""Pictures of filters: every one in its place, in its colours."""

import numpy as np
import pytest
from test_filters import net

from zfkeras.analysis.filters import compare, filter_statistics
from zfkeras.report import filters


@pytest.fixture
def kernels(rng):
    found = rng.normal(0, 0.1, (5, 4, 3, 6)).astype("float32")
    found[..., 2] *= 9
    return found


def tile(picture, row, column, factor, shape=(5, 4)):
    height, width = shape[0] * factor, shape[1] * factor
    top, left = 2 + row * (height + 2), 2 + column * (width + 2)
    return picture[top : top + height : factor, left : left + width : factor]


def test_a_bank_is_scaled_together_or_each_by_itself(kernels):
    found = filter_statistics(net(kernels))
    together, each = filters.bank(found, columns=3), filters.bank(found, False, columns=3)
    factor = 6  # 5 pixels become at least 28
    assert together.shape == (2 * (5 * factor + 2) + 2, 3 * (4 * factor + 2) + 2, 3)
    largest = np.abs(kernels).max()
    for number in range(6):
        at = divmod(number, 3)
        kernel = kernels[..., number]
        expected = np.rint(255 * (0.5 + kernel / (2 * largest)))
        np.testing.assert_allclose(tile(together, *at, factor), expected, atol=1)
        expected = np.rint(255 * (0.5 + kernel / (2 * np.abs(kernel).max())))
        np.testing.assert_allclose(tile(each, *at, factor), expected, atol=1)


def test_filters_of_other_depths_are_grey(rng):
    kernels = rng.normal(0, 0.1, (5, 4, 2, 6)).astype("float32")
    shown = tile(filters.bank(filter_statistics(net(kernels)), False, columns=3), 0, 1, 6)
    mean = kernels[..., 1].mean(2)
    expected = np.rint(255 * (0.5 + mean / (2 * np.abs(mean).max())))
    np.testing.assert_allclose(shown, expected[..., None].repeat(3, 2), atol=1)


def test_the_figure_has_a_column_for_each_net(kernels):
    found = {"a": filter_statistics(net(kernels)), "b": filter_statistics(net(kernels), radius=0.1)}
    figure = filters.figure(found)
    titles = [axes.get_title() or axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:2] == ["a", "b"]
    assert titles[2].startswith(f"RMS; dominance {found['a'].dominance:.1f}")
    bars = figure.axes[2].patches
    heights = [bar.get_height() for bar in bars]
    assert sorted(heights, reverse=True) == pytest.approx(np.sort(found["a"].rms)[::-1])
    numbers = compare(found)
    assert len(filters.table(numbers).axes[0].tables[0].get_celld()) == 3 * (len(numbers) + 1) - 1


def test_a_missing_number_is_an_empty_cell(tmp_path):
    path = filters.write_table({"x": {"a": 0.25, "b": 2.0}, "y": {"b": 1 / 3}}, tmp_path / "t.csv")
    assert path.read_text() == "number,a,b\nx,0.25,2\ny,,0.333333\n"
