"""The state of the page in its address: a link opens one exact view, and a hostile one does no harm."""

import pytest

from tests.explorer.conftest import FIRST, SECOND

HOSTILE = [
    "view=<script>alert(1)</script>&layer=-1&head=1e9&token=99999999999&depth=NaN&show=constructor&lang=__proto__",
    "view=__proto__&run=9&token=999999&other=999999&layer=999999&head=999999&depth=999999&step=999999&first=999999",
    "%",
    "view=attention%00&masked=true&mode=toString&tour=999999&touring=1",
    "text1=" + "a" * 30_000,
    "heads=0.0-99.99-x&noise=1e9_0_0_0&mask1=1.2.x",
]


def test_what_is_chosen_stands_in_the_address_and_opens_again(browser, page) -> None:
    browser.open(page.as_uri())
    assert browser.run("return location.hash") == ""
    browser.view("attention")
    browser.click('[data-key="glance1-2"]')
    browser.click('[data-token="7"]')
    link = browser.run("return location.href")
    assert link.endswith("#view=attention&token=7&other=6&layer=1&head=2")
    heading = browser.texts("h2")
    browser.forget()
    browser.open(link)
    assert browser.texts("h2") == heading and browser.text(".token.chosen .token-number").strip() == "7"


def test_a_changed_address_is_followed(browser, page) -> None:
    browser.open(page.as_uri() + "#view=hidden&depth=1&lang=ko")
    assert browser.text(".tab.chosen") == "4히든 스테이트"
    assert "히든 스테이트 1" in browser.text(".view h2")
    browser.run("location.hash = 'view=layer&step=5&layer=0'")
    browser.wait(lambda: browser.count(".step-numbers") == 1)
    assert browser.text(".view h2") == "Probabilities, layer 0, head 0"
    assert browser.run("return document.documentElement.lang") == "en"


@pytest.mark.parametrize("fragment", HOSTILE)
def test_hostile_addresses_are_ignored(browser, page, fragment) -> None:
    browser.open(f"{page.as_uri()}#{fragment}")
    assert browser.count(".card") >= 1 and browser.texts(".tab.chosen")
    assert browser.run("return document.querySelectorAll('script, img, style, iframe').length") == 3
    for number in range(1, 8):
        browser.press(str(number))
        assert browser.count(".card") >= 1


def test_texts_masks_and_edits_of_the_live_page(browser, port) -> None:
    address = f"http://127.0.0.1:{port}/"
    browser.open(address, allowed=address)
    browser.driver.find_element("css selector", '[data-key="text0"]').clear()
    browser.driver.find_element("css selector", '[data-key="text0"]').send_keys("she sat on the bank .\n")
    browser.wait(lambda: browser.texts(".token .piece")[1] == "she")
    browser.view("predictions")
    browser.click('[data-key="mask5"]')
    browser.wait(lambda: browser.text('[data-token="5"] .piece') == "[MASK]")
    browser.view("attention")
    browser.click('[data-key="glance1-2"]')
    browser.click('[data-key="ablate"]')
    browser.wait(lambda: browser.count('[data-heat="relative-change"]') == 1)
    link = browser.run("return location.href")
    assert "text1=she+sat+on+the+bank+." in link and "mask1=5" in link and "heads=1.2" in link
    browser.forget()
    browser.open(link, allowed=address)
    browser.wait(lambda: browser.count('[data-heat="relative-change"]') == 1)
    assert browser.text('[data-token="5"] .piece') == "[MASK]"
    assert browser.texts(".chip") == ["layer 1, head 2 ×"]
    assert browser.run("return document.querySelector('[data-key=text0]').value") == "she sat on the bank ."
    assert browser.run("return location.href") == link


def test_a_link_to_two_texts(browser, page) -> None:
    browser.open(page.as_uri() + "#view=comparison&depth=2")
    assert browser.texts(".said") == [FIRST, SECOND]
    assert "hidden state 2" in browser.texts("h2")[3]


def test_a_row_of_attention_of_a_link(browser, port) -> None:
    address = f"http://127.0.0.1:{port}/"
    row = "_".join(["1", *"0" * 10])  # FIRST has eleven tokens
    browser.open(f"{address}#view=attention&layer=2&head=3&token=5&rows=2_3_5_{row}", allowed=address)
    browser.wait(lambda: browser.count('[data-heat="relative-change"]') == 1)
    assert browser.texts(".chip") == ["attention of bank, layer 2, head 3 ×"]
    assert browser.run("return location.hash").endswith(f"rows=2_3_5_{row}")
    browser.run("location.hash = arguments[0]", f"rows=2_3_5_{row}_0&view=hidden")  # one number too many
    browser.wait(lambda: browser.count('[data-heat="relative-change"]') == 0)
