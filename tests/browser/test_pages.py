"""The pages in a real browser: for every reader, in both languages, with and without JavaScript, mouse and map."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response, expect

from tests.browser.conftest import City

THING = "urn:ngsi-ld:OffStreetParking:sim-001"
PATHS = {
    "home": "", "search": "/search?q=001", "platform": "/platforms/smart_parking",
    "nothing": "/platforms/smart_parking?q=nowhere", "thing": f"/platforms/smart_parking/things/{THING}",
    "silent": f"/platforms/smart_parking/things/{THING[:-1]}4", "band":
        f"/platforms/smart_parking/things/{THING}?show=occupancy&span=30d", "alerts": "/alerts",
    "resolved": "/alerts?state=resolved", "missing": "/no/such/page", "offline": "/offline",
    "deliveries": "/operations/deliveries", "no channel": "/operations/deliveries?state=closed&channel=none",
    "delivery": "/operations/deliveries/2",
}  # fmt: skip
SCREENS = {"phone": (390, "light"), "desk": (1440, "dark"), "small phone": (360, "dark"), "wall": (3840, "light")}


@pytest.fixture
def watched(browser: Browser, city: City) -> Iterator[tuple[BrowserContext, list[str]]]:
    """A context whose pages may not complain, nor talk to anybody but the city."""
    complaints: list[str] = []

    def console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "GL Driver Message" not in message.text:
            complaints.append(f"{message.type}: {message.text}")

    def asked(request: Request) -> None:
        if not request.url.startswith((city.url, "data:", "blob:")):
            complaints.append(f"asked {request.url}")

    with browser.new_context() as context:
        context.on("console", console)
        context.on("request", asked)
        context.on("weberror", lambda error: complaints.append(f"script: {error.error}"))
        yield context, complaints


@pytest.mark.parametrize(("lang", "screen"), [("zh", "phone"), ("en", "desk"), ("en", "small phone"), ("zh", "wall")])
def test_every_page_is_sound(
    watched: tuple[BrowserContext, list[str]], city: City, lang: str, screen: str, axe: Callable[[Page], list[str]]
) -> None:
    context, complaints = watched
    width, scheme = SCREENS[screen]
    found = []
    for name, path in PATHS.items():
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.goto(f"{city.url}/{lang}{path}")
        if name in ("thing", "band"):
            page.locator(".chart-live canvas").wait_for()
        if name == "platform":
            page.locator(".map-live canvas").wait_for()
        for details in page.locator("main details > summary").all()[:2]:
            details.click()
        found += [f"{name}: {fault}" for fault in axe(page)]
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        found += [f"{name} is {wide} px wider than the screen"] if wide > 0 else []
        assert page.locator("html").get_attribute("lang") == {"zh": "zh-CN", "en": "en"}[lang]
        page.close()
    allowed = "404 (Not Found)"  # the page that is missing, and says so
    assert not found + [complaint for complaint in complaints if allowed not in complaint]


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_pages_work_without_javascript(
    browser: Browser, city: City, lang: str, axe: Callable[[Page], list[str]]
) -> None:
    with browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 900}) as context:
        page = context.new_page()
        page.goto(f"{city.url}/{lang}")
        page.locator("#q").fill("001")
        page.locator(".search button").click()
        page.locator(".results a").first.click()
        expect(page.locator("h1")).to_contain_text("001")
        expect(page.locator(".drawn-chart .line")).to_be_visible()
        page.locator(".behind summary").click()
        expect(page.locator(".behind tbody tr").first).to_be_visible()
        page.goto(f"{city.url}/{lang}/platforms/smart_parking")
        expect(page.locator(".map-frame .drawn-map .points path").first).to_be_attached()
        page.locator("#filter-state").select_option("suspect")
        page.locator(".filters button").click()
        expect(page.locator("tr[data-state]")).to_have_count(page.locator("tr[data-state=suspect]").count())


def test_an_operator_resends_a_message_without_javascript(browser: Browser, city: City) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{city.url}/en/operations/deliveries")
        expect(page.locator("[data-state=failing]")).to_contain_text("The receiver answered 500")
        letter = page.locator("[data-letter='1']")
        letter.locator("summary").click()
        letter.get_by_role("button", name="Send again").click()
        expect(page.locator(".notice")).to_contain_text("1 message is being sent again")
        expect(page.locator("[data-letter='1']")).to_have_count(0)
        page.locator("[data-state=closed]").get_by_role("button", name="Resume").click()
        expect(page.locator("[data-state=closed]")).to_have_count(0)


def test_language_switch_keeps_the_page(page: Page, city: City) -> None:
    page.goto(f"{city.url}/zh/platforms/smart_parking?state=silent&sort=name")
    page.locator(".language").click()
    assert page.url == f"{city.url}/en/platforms/smart_parking?state=silent&sort=name"
    expect(page.locator("h1")).to_contain_text("Smart parking")


def test_a_keyboard_reaches_the_content_and_a_thing(page: Page, city: City) -> None:
    page.goto(f"{city.url}/zh/platforms/smart_parking")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main"
    page.locator("#filter-q").focus()
    page.keyboard.type("001")
    expect(page.locator("tr[data-thing]")).to_have_count(1)  # exchanged in place
    assert "q=001" in page.url
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('tbody') !== null"):
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/things/**")


def test_focus_stays_on_a_thing_when_the_list_is_exchanged(page: Page, city: City) -> None:
    page.goto(f"{city.url}/zh/platforms/smart_parking?q=001")
    link = page.locator("tr[data-thing] th a")
    link.focus()
    page.evaluate("document.querySelector('#things').dataset.old = 'yes'")
    page.evaluate("document.querySelector('form.filters').dispatchEvent(new Event('change', {bubbles: true}))")
    expect(page.locator("#things[data-old]")).to_have_count(0)
    expect(link).to_be_focused()


def test_a_change_reaches_list_figures_and_values_without_reload(page: Page, city: City) -> None:
    page.goto(f"{city.url}/zh/platforms/smart_parking?q=001")
    page.evaluate("window.same = true")
    cell = page.locator(f'[data-thing="{THING}"] [data-cell=availableSpotNumber] .figure')
    before = page.locator('[data-live="figure-free"]').inner_text()
    city.observe(THING, 59)
    expect(cell).to_have_text("59")
    expect(page.locator('[data-live="figure-free"]')).not_to_have_text(before)
    assert page.evaluate("window.same")
    page.goto(f"{city.url}/zh/platforms/smart_parking/things/{THING}")
    city.observe(THING, 77)  # more than there are: suspect
    expect(page.locator(".values [data-cell=availableSpotNumber] .suspect")).to_contain_text("77")
    expect(page.locator("[data-live-state]")).to_contain_text("存疑")
    city.observe(THING, 48)
    expect(page.locator("[data-live-state]")).to_contain_text("正常")


def test_a_stream_that_breaks_says_so_and_comes_back(page: Page, city: City) -> None:
    page.goto(f"{city.url}/zh/platforms/smart_parking")
    expect(page.locator(".connection")).to_be_hidden()
    page.context.set_offline(True)
    expect(page.locator(".connection")).to_be_visible()
    page.context.set_offline(False)
    expect(page.locator(".connection")).to_be_hidden(timeout=15_000)


def test_a_row_and_its_point_are_linked(browser: Browser, city: City) -> None:
    with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
        page = context.new_page()
        page.goto(f"{city.url}/zh/platforms/smart_parking?q=001")
        page.locator(".map-live canvas").wait_for()
        page.locator(f'[data-thing="{THING}"] .time-cell').click()
        expect(page.locator("[data-map-card] h3")).to_contain_text("001")
        expect(page.locator(f'[data-thing="{THING}"]')).to_have_class("chosen")


def test_staff_acknowledge_and_silence(page: Page, city: City) -> None:
    page.goto(f"{city.url}/zh/alerts")
    page.locator(".inbox-do summary").first.click()
    page.locator(".inbox-do[open] input[name=note]").fill("已派人查看")
    page.locator(".inbox-do[open] button.primary").click()
    expect(page.locator(".notice.done")).to_be_visible()
    expect(page.locator(".inbox-note")).to_have_text("已派人查看")
    page.locator(".inbox-do summary").first.click()
    page.locator(".inbox-do[open] select").select_option("4")
    page.locator('.inbox-do[open] form[action$="silence"] button').click()
    expect(page.locator(".notice.done")).to_be_visible()


def test_the_public_sees_alerts_and_no_forms(page: Page, public_city: City) -> None:
    page.goto(f"{public_city.url}/zh/alerts")
    expect(page.locator(".inbox-item").first).to_be_visible()
    expect(page.locator(".inbox-do")).to_have_count(0)


def test_scripts_keep_within_their_budget(browser: Browser, city: City) -> None:
    budget = {"": 40, "/alerts": 40, "/platforms/smart_parking": 700, f"/platforms/smart_parking/things/{THING}": 700}
    for path, limit_kb in budget.items():
        with browser.new_context() as context:
            page = context.new_page()
            answers: list[Response] = []

            def answered(answer: Response, answers: list[Response] = answers) -> None:
                answers.append(answer)

            page.on("response", answered)
            page.goto(f"{city.url}/zh{path}")
            page.wait_for_load_state("networkidle") if limit_kb == 40 else page.wait_for_timeout(2_000)
            sent = [
                int(answer.headers["content-length"])
                for answer in answers
                if answer.url.endswith("js") and "/static/" in answer.url
            ]
            assert 0 < sum(sent) <= limit_kb * 1024
