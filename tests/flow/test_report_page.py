"""A reader's browser shows the report: without errors or network, sortable, by keyboard, on a phone, accessibly."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from command_line import command_in
from refers_bench.analysis.results import load
from refers_bench.reporting import page as _page
from results_folder import Folder

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = ("<script>alert(1)</script>", "50%_$x&", "\u05e9\u05dc\u05d5\u05dd \u0627\u0644\u0635\u062f\u0631", "n" * 200)
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
LIMIT = 5 * 2**20


def axe() -> str:
    """The accessibility checker's source, or a skip."""
    for path in (os.environ.get("AXE_CORE", ""), ROOT / "node_modules" / "axe-core" / "axe.min.js"):
        if path and Path(path).is_file():
            return Path(path).read_text(encoding="utf-8")
    pytest.skip("axe-core not found: 'npm install --no-save axe-core', or AXE_CORE=path of axe.min.js")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM or not DRIVER:
        pytest.skip("chromium and chromedriver are not on the PATH")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with three seeds, a failure, missing cells, two classes, and hostile names."""
    folder = Folder(tmp_path_factory.mktemp("page") / "results")
    for place, label in enumerate(("REFERS", *HOSTILE)):
        name = "refers" if not place else f"row-{place}"
        for target in ({"dataset": "nih_chestxray14", "task": "findings", "ratio": 0.01}, {"ratio": 1.0}):
            for seed in range(3):
                aucs = {"normal": 0.8 - 0.03 * place + 0.01 * seed, "opacity <b>": 0.6 + 0.02 * place}
                state = "failed" if (place, seed) == (2, 2) else "missing" if (place, seed) == (3, 1) else "done"
                folder.cell(name, seed=seed, label=label, aucs=aucs, state=state, **target)
    (path,) = _page.write(folder.save(), ["tiny"])
    return path


def visit(browser: Any, path: Path, width: int = 1280) -> None:
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    )
    browser.get(path.as_uri())


def column(browser: Any, table: str, number: int) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map(r => r.cells[arguments[1]].innerText.trim())"
    return list(browser.execute_script(script, f"#{table} tbody.ours tr", number))


def test_no_console_error_and_no_request(browser: Any, page: Path) -> None:
    visit(browser, page)
    assert browser.get_log("browser") == []
    sent = [
        json.loads(entry["message"])["message"]["params"]["request"]["url"]
        for entry in browser.get_log("performance")
        if '"Network.requestWillBeSent"' in entry["message"]
    ]
    assert [url for url in sent if not url.startswith(("data:", page.as_uri()))] == []
    # What is hostile is text: no element came of it.
    assert browser.execute_script("return document.querySelectorAll('script').length") == 1
    assert "<script>alert(1)</script>" in browser.find_element("id", "cells").text


def test_sorting_by_mouse_and_keyboard(browser: Any, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    visit(browser, page)
    original = column(browser, "cells", 0)
    button = browser.find_elements("css selector", "#cells thead tr:last-child th button")[1]
    button.click()
    values = [float(text.split()[0]) for text in column(browser, "cells", 1) if text[0].isdigit()]
    assert values == sorted(values, reverse=True) and len(values) >= 3
    assert browser.find_element("css selector", "#cells th[aria-sort]").get_attribute("aria-sort") == "descending"
    button.send_keys(Keys.ENTER)
    values = [float(text.split()[0]) for text in column(browser, "cells", 1) if text[0].isdigit()]
    assert values == sorted(values)
    # Figures that are not there stay below, and the third time gives the first order.
    assert all(not text[0].isdigit() for text in column(browser, "cells", 1)[len(values) :])
    button.send_keys(Keys.SPACE)
    assert column(browser, "cells", 0) == original
    assert browser.find_elements("css selector", "#cells th[aria-sort]") == []


def test_switch_between_means_and_classes(browser: Any, page: Path) -> None:
    visit(browser, page)
    means, classes = (browser.find_element("id", name) for name in ("cells", "classes-nih_chestxray14-findings-0_01"))
    assert means.is_displayed() and classes.is_displayed()
    browser.find_element("css selector", "#view input[value=class]").click()
    assert not means.is_displayed() and classes.is_displayed()
    browser.find_element("css selector", "#view input[value=mean]").click()
    assert means.is_displayed() and not classes.is_displayed()


def test_a_number_opens_its_origin_and_gives_the_focus_back(browser: Any, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    visit(browser, page)
    link = browser.find_element("css selector", "#cells td a[href^='#cell-']")
    link.send_keys(Keys.ENTER)
    dialog = browser.find_element("id", "detail")
    assert dialog.is_displayed() and "seed 0" in dialog.text and "key" in dialog.text
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not dialog.is_displayed()
    assert browser.switch_to.active_element == link


@pytest.mark.parametrize("width", [360, 1280])
def test_a_pointer_over_a_drawing_shows_the_values_under_it(browser: Any, page: Path, width: int) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.action_builder import ActionBuilder

    visit(browser, page, width)
    image = browser.find_element("css selector", "#figure-auc img")
    svg = ET.fromstring(base64.b64decode(image.get_attribute("src").split(",")[1]))
    (described,) = [part for part in svg.iter("{http://www.w3.org/2000/svg}metadata") if part.get("id") == "points"]
    panel = json.loads(described.text or "")[0]
    (series,) = [one for one in panel["series"] if one["name"] == HOSTILE[0]]
    scale = image.size["width"] / float((svg.get("viewBox") or "").split()[2])
    frame = browser.execute_script(
        "const [image, left] = arguments; image.scrollIntoView({block: 'center'});"
        "image.closest('.frame').scrollLeft = left - 150; return image.getBoundingClientRect()",
        image,
        series["at"][0][0] * scale,
    )
    x, y = (frame[side] + value * scale for side, value in zip(("left", "top"), series["at"][0], strict=True))
    for above in (60, 0):
        pointer = ActionBuilder(browser)
        pointer.pointer_action.move_to_location(x, y - above)
        pointer.perform()
    said = browser.find_element("css selector", "#figure-auc .said")
    assert said.is_displayed() and said.text == f"{HOSTILE[0]}: {series['values'][0][0]:g}, {panel['x']}"
    whole = browser.execute_script("return arguments[0].getBoundingClientRect()", said)
    assert frame["left"] <= whole["left"] and whole["right"] <= frame["right"] + 1
    assert browser.get_log("browser") == []
    ActionChains(browser).move_to_element(browser.find_element("css selector", "#figure-auc figcaption")).perform()
    assert not said.is_displayed()


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_never_scrolls_sideways(browser: Any, page: Path, width: int) -> None:
    visit(browser, page, width)
    wide, shown = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= shown <= width


def test_prints_every_column(browser: Any, page: Path) -> None:
    visit(browser, page)
    printed = base64.b64decode(
        browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True})["data"]
    )
    assert printed[:5] == b"%PDF-" and len(printed) > 10_000
    # Where the page is as wide as a landscape sheet (281 mm at 96 dots an inch), no table is wider.
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    visit(browser, page, width=1062)
    wide = "return Math.max(...[...document.querySelectorAll('main table')].map(t => t.getBoundingClientRect().right))"
    assert browser.execute_script(wide) <= 1062
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the plan of `real_frozen`, as committed; of its figures no predictions are kept."""
    results = tmp_path_factory.mktemp("frozen") / "results"
    (results / "real_frozen").mkdir(parents=True)
    shutil.copy(ROOT / "results" / "evidence" / "real_frozen" / "plan.lock.json", results / "real_frozen")
    (path,) = _page.write(results, ["real_frozen"])
    return path


@pytest.fixture(scope="module")
def released(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, results = real_data / "released-predictions", tmp_path_factory.mktemp("released")
    if not folder.is_dir():
        pytest.skip(f"no released predictions in {real_data}")
    done = command_in(results, "results", "import", "refers-release", str(folder))
    assert done.code == 0, done.err
    (path,) = _page.write(results, ["refers-release"])
    return path


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the smoke manifest, which runs for two minutes."""
    results = tmp_path_factory.mktemp("smoke")
    done = command_in(results, "run", str(ROOT / "manifests" / "smoke.yaml"))
    assert done.code == 0, done.err
    return results / "smoke" / "report" / "index.html"


REPORTS = ["page", "frozen", *(pytest.param(name, marks=pytest.mark.slow) for name in ("released", "smoke"))]


@pytest.mark.slow
def test_the_smoke_report_fits_fifteen_sheets(browser: Any, smoke: Path) -> None:
    visit(browser, smoke)
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True})
    assert 5 < len(re.findall(rb"/Type\s*/Page\b(?!s)", base64.b64decode(printed["data"]))) <= 15


@pytest.mark.parametrize("name", REPORTS)
def test_the_first_screen_has_the_answer_and_the_main_table(
    browser: Any, name: str, request: pytest.FixtureRequest
) -> None:
    visit(browser, request.getfixturevalue(name), width=1400)
    top = browser.execute_script("return document.querySelector('main table').getBoundingClientRect().top")
    assert 0 < top < 500
    facts = browser.find_element("css selector", ".facts")
    assert facts.is_displayed() and "cells have a figure" in facts.text


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("width", [360, 768, 1400])
def test_no_table_is_cut_where_the_page_has_room(
    browser: Any, name: str, width: int, request: pytest.FixtureRequest
) -> None:
    """What is wider than its frame scrolls in it, and says so at its edge; such a frame is as wide as the page."""
    visit(browser, request.getfixturevalue(name), width=width)
    frames = browser.execute_script(
        "return [...document.querySelectorAll('.frame')].map(f => [f.scrollWidth - f.clientWidth > 2, "
        "f.classList.contains('more'), f.getBoundingClientRect().width, getComputedStyle(f).borderRightWidth])"
    )
    assert frames
    for scrolls, marked, wide, border in frames:
        assert scrolls == marked and border == "1px"
        assert not scrolls or wide > 0.9 * (width - 48)


def test_filters_and_search_act_on_the_whole_page(browser: Any, page: Path) -> None:
    visit(browser, page)
    rows = "return [...document.querySelectorAll('#cells tbody.ours tr')].filter(r => !r.hidden).length"
    heads = "return [...document.querySelectorAll('#cells thead tr:last-child th')].filter(h => !h.hidden).length"
    assert (browser.execute_script(rows), browser.execute_script(heads)) == (5, 3)
    browser.find_element("css selector", "#filters summary").click()
    browser.find_element("css selector", "[data-facet=method] input[value=REFERS]").click()
    browser.find_element("css selector", "[data-facet=labels] input[value='1 % of labels']").click()
    assert (browser.execute_script(rows), browser.execute_script(heads)) == (1, 2)
    # A table about other labels is gone as a whole, and the status says how many are.
    assert browser.find_element("id", "classes-nih_chestxray14-findings-0_01").is_displayed()
    assert not browser.find_element("id", "classes-covid19_idc-viral_vs_bacterial-1").is_displayed()
    assert "hidden" in browser.find_element("id", "status").get_attribute("textContent")
    browser.find_element("id", "reset").click()
    assert (browser.execute_script(rows), browser.execute_script(heads)) == (5, 3)
    browser.find_element("id", "search").send_keys("50%_$x&")
    assert browser.execute_script(rows) == 1


def test_works_without_scripts(browser: Any, page: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        visit(browser, page)
        assert browser.find_element("id", "cells").is_displayed()
        assert not browser.find_element("id", "tools").is_displayed()
        link = browser.find_element("css selector", ".bar nav a[href$=-classes]")
        assert browser.find_element("id", link.get_attribute("href").partition("#")[2]).is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_serious_barrier(browser: Any, name: str, dark: bool, request: pytest.FixtureRequest) -> None:
    source = axe()
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    visit(browser, request.getfixturevalue(name))
    # The page's own policy forbids foreign scripts; the driver's are allowed.
    browser.execute_script(source)
    found = browser.execute_async_script("axe.run(document).then(arguments[0])")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    bad = [
        (one["id"], one["help"], [node["target"] for node in one["nodes"]][:3])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert found["passes"] and bad == []


def test_whole_tables_stay_below_five_megabytes(new_folder: Callable[..., Any]) -> None:
    """Nine methods x nine columns x three seeds, 14 classes where the paper has them."""
    folder = new_folder("full")
    columns = [(d, "findings", r, 14) for d in ("nih_chestxray14", "vinbigdata_cxr") for r in (0.01, 0.1, 1.0)]
    columns += [("shenzhen_tb", "tuberculosis", 1.0, 1), ("covid19_idc", "covid19_vs_other", 1.0, 1)]
    columns += [("covid19_idc", "viral_vs_bacterial", 1.0, 1)]
    methods = ("refers", "model_genesis", "c2l", "context_restoration", "transvw", "imagenet", "lsp_transformer",
               "lsp_convnet", "scratch")  # fmt: skip
    for number, method in enumerate(methods):
        for dataset, task, ratio, classes in columns:
            for seed in range(3):
                aucs = {f"class {k}": 0.5 + 0.03 * k + 0.005 * seed - 0.01 * number for k in range(classes)}
                folder.cell(method, seed=seed, dataset=dataset, task=task, ratio=ratio, aucs=aucs)
    results = folder.save()
    assert len(load(results, "full").planned) == 243
    (path,) = _page.write(results, ["full"])
    assert path.stat().st_size < LIMIT
