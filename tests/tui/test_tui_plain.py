"""Terminals that show less: no colour by NO_COLOR, and encodings without our glyphs."""

from __future__ import annotations

import pytest
from fake_daemon import FakeDaemon
from hypothesis import given
from hypothesis import strategies as st
from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from tui_driver import Driver
from tui_launch import Launch

from perp_bot.config.paths import RuntimePaths
from perp_bot.tui import plain
from perp_bot.tui.look import STYLES, style
from perp_bot.tui.spans import width_of

BLACK = Color(0, 0, 0)


def colours_of(driver: Driver) -> set[str]:
    """Every colour on the screen that is not the terminal's own."""
    strips = driver.app.screen._compositor.render_strips()
    styles = [segment.style for strip in strips for segment in strip if segment.style is not None]
    found = {colour for item in styles for colour in (item.color, item.bgcolor)}
    return {colour.name for colour in found if isinstance(colour, RichColor) and not colour.is_default}


@pytest.mark.slow
async def test_no_color_shows_everything_without_a_colour(
    launch: Launch, paths: RuntimePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_COLOR=1: the overview, a message and a dialog are drawn, no colour and no grey is left, marks are reversed."""
    monkeypatch.setenv("NO_COLOR", "1")
    with FakeDaemon(paths.socket) as daemon:
        async with launch((80, 24)) as driver:
            await driver.until_live()
            daemon.show(status="PAUSED", status_reasons=("by hand",))
            await driver.until_shown("PAUSED: by hand")
            driver.app.say("a message")
            await driver.until_shown("a message")
            assert "Risk (1 of 7 at their limit)" in driver.screen
            assert colours_of(driver) == set()
            strips = driver.app.screen._compositor.render_strips()
            marked = [item.text for strip in strips for item in strip if item.style is not None and item.style.reverse]
            assert " PAUSED " in marked
            await driver.press("k")
            await driver.until_shown("type kill or flatten")
            assert colours_of(driver) == set()


@pytest.mark.slow
async def test_without_no_color_there_are_colours(
    launch: Launch, paths: RuntimePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counter check: the same look at the screen finds them."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    with FakeDaemon(paths.socket):
        async with launch((80, 24)) as driver:
            await driver.until_live()
            assert "#6fdc8c" in colours_of(driver)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(120, 40), (80, 24), (50, 10)])
async def test_an_encoding_without_our_glyphs_gets_characters_it_has(
    launch: Launch, paths: RuntimePaths, size: tuple[int, int]
) -> None:
    """ASCII: every line can be written, and is as wide as the terminal; frames and dialogs too."""
    with FakeDaemon(paths.socket):
        async with launch(size, encoding="ascii") as driver:
            await driver.until_live()
            assert driver.screen.isascii()
            if size[1] > 12:
                assert "- Positions (1) -----" in driver.screen
                assert "BTC   ^ long" in driver.screen
            await driver.press("k")
            await driver.until_shown("KILL")
            assert driver.screen.isascii()
            strips = driver.app.screen._compositor.render_strips()
            assert {width_of(strip.text) for strip in strips} == {size[0]}


@pytest.mark.parametrize("name", sorted(STYLES))
def test_a_style_without_colour_keeps_what_its_background_said(name: str) -> None:
    """A background is a mark (killed, caution, cursor, focus): reverse video says it without a colour."""
    given_style = style(name)
    (shown,) = plain.NoColour().apply([Segment("x", given_style)], BLACK)
    assert shown.style is not None
    assert (shown.style.color, shown.style.bgcolor) == (None, None)
    assert bool(shown.style.reverse) == (given_style.bgcolor is not None or bool(given_style.reverse))
    assert (shown.style.bold, shown.style.italic) == (given_style.bold, given_style.italic)


def test_a_surface_is_no_mark_and_padding_without_a_style_passes() -> None:
    """Only the backgrounds of the table of styles mean something; a segment may have no style at all."""
    surface, padding = plain.NoColour().apply([Segment("x", Style(bgcolor="#171d26")), Segment("  ")], BLACK)
    assert surface.style is not None
    assert not surface.style.reverse
    assert padding == Segment("  ")


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Mn", "Me", "Cn", "Co"]), max_size=30))
def test_what_is_written_instead_fits_the_encoding_and_the_width(text: str) -> None:
    """Columns stay under their heads, and nothing comes out as an escape."""
    for encoding in ("ascii", "iso-8859-1"):
        written = plain.OwnGlyphs(encoding).writable(text)
        written.encode(encoding)
        assert width_of(written) == width_of(text)


def test_the_glyphs_of_the_table_are_one_ascii_cell_each() -> None:
    """A glyph of another width would move what stands behind it."""
    for glyph, instead in plain.ASCII_GLYPHS.items():
        assert instead.isascii(), glyph
        assert len(instead) == width_of(glyph) == 1, glyph


@pytest.mark.parametrize(
    ("encoding", "no_color", "expected"),
    [
        ("utf-8", False, []),
        ("UTF-8", True, [plain.NoColour]),
        ("ANSI_X3.4-1968", False, [plain.OwnGlyphs]),
        ("iso-8859-1", True, [plain.NoColour, plain.OwnGlyphs]),
        ("no-such-encoding", False, [plain.OwnGlyphs]),
    ],
)
def test_a_terminal_gets_the_filters_it_needs(encoding: str, no_color: bool, expected: list[type]) -> None:
    """None for an ordinary terminal."""
    assert [type(item) for item in plain.filters_for(encoding, no_color=no_color)] == expected
