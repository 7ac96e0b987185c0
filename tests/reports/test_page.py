"""report.html in a real browser, by mouse and by keyboard; and safe with any text in records."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver.support.wait import WebDriverWait

from reports.study import Study
from reports.tidy_tables import tidy_tables
from reports.web.drawing import point_name
from reports.web.page import page
from results.store.folder import Store
from results.tables.loading import load_runs
from results.tables.points import summary
from tests.conftest import SmokeRun
from tests.results.edited import edit_record

EVIL = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--window-size=1280,1200",
)  # fmt: skip


@pytest.fixture(scope="module")
def study(smoke: SmokeRun, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The runs of `smoke`, one of them with a malicious method name."""
    folder = tmp_path_factory.mktemp("records")
    shutil.copytree(smoke.results / "runs", folder / "runs")
    (victim,) = folder.glob("runs/vanilla-*")
    edit_record(victim, lambda record: record["spec"]["train"]["method"].update(name=EVIL))
    store = Store(folder)
    runs, problems = load_runs(store, store.run_ids())
    assert problems == []
    return Study(f"smoke {EVIL}", runs, tidy_tables(runs, []), problems=[f"a/runs/b: {EVIL}"])


@pytest.fixture(scope="module")
def text(study: Study) -> str:
    return page(study)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("there is no Chromium here; on Debian: apt-get install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver_session = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield driver_session
    driver_session.quit()


@pytest.fixture
def browser(chromium: Any, text: str, tmp_path: Path) -> Any:
    """A browser that has just opened the page."""
    path = tmp_path / "report.html"
    path.write_text(text, encoding="utf-8")
    chromium.get(path.as_uri())
    return chromium


def all_of(browser: Any, selector: str) -> list[Any]:
    return list(browser.find_elements("css selector", selector))


def details(browser: Any) -> dict[str, str]:
    names, values = all_of(browser, "#details dt"), all_of(browser, "#details dd")
    return {name.text: value.text for name, value in zip(names, values, strict=True)}


def test_the_page_uses_no_network_and_runs_no_other_script(text: str) -> None:
    assert not re.search(r"""(src|href)\s*=|@import|url\(""", text.replace(EVIL, "").replace("src=x", ""))
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src &#39;none&#39;") or policy.startswith("default-src 'none'")
    (script,) = re.findall(r"<script>(.*?)</script>\s*</body>", text, flags=re.DOTALL)
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
    assert EVIL not in text


def test_the_same_study_gives_the_same_bytes(study: Study, text: str) -> None:
    assert page(study) == text


def shown_rows(browser: Any) -> list[list[str]]:
    """The cells of the rows that the filters show, in their order."""
    cells = "[...row.cells].map(cell => cell.textContent)"
    script = f"return [...document.querySelectorAll('#table tbody tr:not([hidden])')].map(row => {cells})"
    return [[str(cell) for cell in row] for row in browser.execute_script(script)]


def choose(browser: Any, name: str, text: str) -> None:
    from selenium.webdriver.support.select import Select

    Select(all_of(browser, f"#{name}")[0]).select_by_visible_text(text)


def test_the_table_has_every_operating_point(browser: Any, study: Study) -> None:
    choose(browser, "point", "all")
    rows = {(row[0], row[1]): row for row in shown_rows(browser)}
    expected = summary(study.points)
    assert len(rows) == len(expected)
    for _, point in expected.iterrows():
        row = rows[study.display[point["label"]], point_name(point)]
        if point["reached"]:
            assert row[3].startswith(f"{100 * point['accuracy']:.1f}")
            assert row[7] == f"{point['mac_speedup']:.2f}×"


def test_filters_apply_to_table_curves_and_csv(browser: Any, study: Study) -> None:
    every = len(summary(study.points))
    assert {row[1] for row in shown_rows(browser)} == {"0.5 × MACs", "no exits"}  # one point, most accurate first
    accuracies = [row[3].split()[0] for row in shown_rows(browser)]
    numbers = [float(text) for text in accuracies if text != "–"]
    assert numbers == sorted(numbers, reverse=True)
    choose(browser, "point", "0.75 × MACs")
    (field,) = all_of(browser, "#search")
    field.send_keys("AT EVERY EXIT")
    rows = shown_rows(browser)
    assert {row[0] for row in rows} == {"LPH at every exit", "GAH at every exit"}
    assert {str(group.get_attribute("data-name")) for group in all_of(browser, ".curve")} == {row[0] for row in rows}
    assert all_of(browser, "#count")[0].text == f"{len(rows)} of {every} rows"
    # What the button saves, without the browser's download.
    browser.execute_script(
        "URL.createObjectURL = blob => (blob.text().then(text => (window.saved = text)), 'about:blank');"
        "HTMLAnchorElement.prototype.click = function () { window.file = this.download; };"
    )
    all_of(browser, "#csv")[0].click()
    WebDriverWait(browser, 10).until(lambda page: page.execute_script("return window.saved"))
    saved = list(csv.reader(io.StringIO(browser.execute_script("return window.saved"))))
    assert saved[1:] == rows
    assert browser.execute_script("return window.file") == "operating-points.csv"
    field.clear()
    choose(browser, "point", "all")
    field.send_keys(" ")
    assert len(shown_rows(browser)) == every


def test_the_result_of_a_row_is_that_of_the_test(browser: Any, study: Study) -> None:
    results = {(row[0], row[1]): row[-1] for row in shown_rows(browser)}
    (group,) = study.main
    for (label, budget), contrast in group.contrasts.items():
        if budget == 0.5:
            text = results[study.display[label], "0.5 × MACs"]
            assert study.display[group.reference] in text
            assert text.startswith({"ahead": "behind", "behind": "ahead"}.get(contrast.result, contrast.result))


def test_the_budget_ranks_the_curves(browser: Any, study: Study) -> None:
    def ranked() -> dict[str, str]:
        return dict(item.text.split(": ") for item in all_of(browser, "#ranking li"))

    browser.execute_script(
        "const b = document.getElementById('budget'); b.value = 0.75; b.dispatchEvent(new Event('input'))"
    )
    assert len(all_of(browser, "#chart .budget")) == 1
    values = ranked()
    numbers = [float(text.split()[0]) for text in values.values() if text != "not reached"]
    assert numbers == sorted(numbers, reverse=True)
    run = next(run for run in study.runs if run.method == "lgvit")
    curve = run.curves[run.curves["split"] == "test"].sort_values("mean_macs")
    expected = np.interp(0.75 * run.record.costs.baseline, curve["mean_macs"], 100 * curve["accuracy"])
    assert float(values["LGViT"].split()[0]) == pytest.approx(expected, abs=0.5)  # the page keeps some of the settings
    browser.execute_script(
        "const b = document.getElementById('budget'); b.value = 0.1; b.dispatchEvent(new Event('input'))"
    )
    assert set(ranked().values()) == {"not reached"}


def test_text_of_a_record_stays_text(browser: Any) -> None:
    assert browser.title == f"LGViT-Bench: smoke {EVIL}"
    assert not all_of(browser, "img")
    assert len(all_of(browser, "script")) == 2
    assert EVIL in {button.text for button in all_of(browser, "#legend button")}
    assert EVIL in all_of(browser, "section[aria-labelledby=problems] li")[0].text
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0


@pytest.mark.parametrize("with_keys", [False, True])
def test_a_heading_sorts_both_ways(browser: Any, with_keys: bool) -> None:
    from selenium.webdriver.common.keys import Keys

    (heading,) = [cell for cell in all_of(browser, "#table th") if cell.text.startswith("MACs")]
    button = heading.find_element("css selector", "button")

    def press() -> list[float]:
        button.send_keys(Keys.ENTER) if with_keys else button.click()
        shown = browser.execute_script(
            "return [...document.querySelectorAll('#table tbody tr')].map(row => row.cells[7].dataset.sort)"
        )
        numbers = [float(value) for value in shown if value]
        assert shown[len(numbers) :] == [""] * (len(shown) - len(numbers))  # cells without a number are last
        return numbers

    assert heading.get_attribute("aria-sort") is None
    up = press()
    assert up == sorted(up)
    assert heading.get_attribute("aria-sort") == "ascending"
    down = press()
    assert down == sorted(up, reverse=True)
    assert [cell.get_attribute("aria-sort") for cell in all_of(browser, "#table th[aria-sort]")] == ["descending"]


def test_a_point_shows_its_run_and_settings(browser: Any, study: Study) -> None:
    run = next(run for run in study.runs if run.method == "lgvit")
    point = next(point for point in run.record.points if point.name.endswith("equal-macs-0.75"))
    (spot,) = [s for s in all_of(browser, ".spot") if s.get_attribute("aria-label").startswith("LGViT, 0.75 × MACs:")]
    browser.execute_script("arguments[0].dispatchEvent(new MouseEvent('mouseenter'))", spot)
    shown = details(browser)
    row = study.points[(study.points["run_id"] == run.record.run_id) & (study.points["point"] == point.name)].iloc[0]
    low, high = 100 * row["low"], 100 * row["high"]
    assert shown["Accuracy"].startswith(f"{100 * row['accuracy']:.1f} % [{low:.1f}, {high:.1f}]")
    assert shown["MACs"].startswith("0.750 of the backbone without exits")
    assert all(f"{setting.threshold:.4g}" in shown["Threshold"] for setting in point.settings)
    assert shown["Exits"].startswith(f"after blocks {' '.join(str(exit_.block) for exit_ in run.record.exits[:-1])};")
    assert shown["Run"] == run.record.run_id
    assert shown["Reproduce"] == f"python -m benchmark reproduce {run.record.run_id}"
    assert shown["Classify images"] == f"python -m benchmark predict {run.record.run_id} IMAGES --point {point.name}"
    assert json.loads(shown["As JSON"])["run"] == run.record.run_id


def test_a_click_shows_the_recall_of_each_class(browser: Any, study: Study) -> None:
    (spot,) = [s for s in all_of(browser, ".spot") if s.get_attribute("aria-label").startswith("LGViT, 0.5 × MACs:")]
    browser.execute_script("arguments[0].dispatchEvent(new MouseEvent('click'))", spot)
    (summary_line,) = all_of(browser, "#details summary")
    summary_line.click()
    rows = [
        [cell.text for cell in row.find_elements("css selector", "td")] for row in all_of(browser, "#classes tbody tr")
    ]
    run = next(run for run in study.runs if run.method == "lgvit")
    table = study.tidy["classes"]
    point = table[(table["run_id"] == run.record.run_id) & (table["point"] == "confidence/equal-macs-0.5")]
    expected = {row["name"]: f"{100 * row['accuracy']:.1f}" for _, row in point.iterrows()}
    assert {row[0]: row[1] for row in rows} == expected
    changes = [float(row[3].replace("\u2212", "-")) for row in rows]
    assert changes == sorted(changes)
    all_of(browser, ".spot")[0].send_keys("")
    assert all_of(browser, "#details details[open]") or not all_of(browser, "#details details")


def test_the_curves_can_be_used_by_keyboard(browser: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(key: str) -> str:
        ActionChains(browser).send_keys(key).perform()
        return str(browser.switch_to.active_element.get_attribute("aria-label"))

    all_of(browser, "#legend button")[-1].send_keys("")
    first = press(Keys.TAB)  # from the last button of the legend into the chart
    assert "of the MACs" in first
    share = r"at ([\d.]+) of the MACs"
    label, walked = press(Keys.ARROW_DOWN), []
    for _ in range(4):
        walked.append(press(Keys.ARROW_RIGHT))
    assert len({text.split(":")[0].split(",")[0] for text in (label, *walked)}) == 1  # along one line
    shares = [float(re.findall(share, text)[-1]) for text in (label, *walked)]
    assert shares == sorted(shares)
    assert press(Keys.ARROW_LEFT) == walked[-2]
    assert float(re.findall(share, press(Keys.END))[-1]) >= shares[-1]
    here = details(browser)
    assert here["Run"] in here["Reproduce"]
    assert len(all_of(browser, ".spot[tabindex='0']")) == 1
    assert "of the MACs" not in press(Keys.TAB)  # one key leaves the chart


def test_a_method_can_be_hidden_and_shown(browser: Any) -> None:
    def names() -> set[str]:
        return {str(group.get_attribute("data-name")) for group in all_of(browser, ".curve")}

    (button,) = [button for button in all_of(browser, "#legend button") if button.text == "LGViT"]
    before = names()
    button.click()
    assert names() == before - {"LGViT"}
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert names() == before


@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_fits_the_window(browser: Any, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.refresh()
    try:
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        box = browser.execute_script("return document.getElementById('chart').getBoundingClientRect().toJSON()")
        for text in all_of(browser, "#chart text"):
            assert box["left"] - 1 <= text.rect["x"]
            assert text.rect["x"] + text.rect["width"] <= box["right"] + 1
        for table in all_of(browser, ".scroll"):  # on a phone, rows are lists: nothing scrolls sideways
            sizes = [int(table.get_property(name)) for name in ("scrollWidth", "clientWidth")]
            assert width > 640 or sizes[0] <= sizes[1]
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_paper_shows_curves_without_controls(browser: Any) -> None:
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        shown = {
            name: all_of(browser, name)[0].is_displayed() for name in ("#chart", "#table", "#details", ".controls")
        }
        assert shown == {"#chart": True, "#table": True, "#details": False, ".controls": False}
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
