"""Following a link: where it leads, and what is recorded of it."""

import re
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from goodword.core import ids
from tests.support.answers import problem
from tests.support.companies import DESTINATION, Company
from tests.support.links import REFUSALS, clicks, follow, location, own_destination, refuse

NOON = datetime(2100, 1, 15, 12, tzinfo=UTC)  # no machine is there yet


@pytest.fixture
def code(company: Company) -> str:
    """The code that Ada shares."""
    user = {"external_id": "ada", "username": "Ada"}
    return company.ok("POST", "/v1/signups", {"user": user})["user"]["referral_code"]


def test_following_a_link_leads_to_the_company_and_says_which_click_it_was(
    company: Company, code: str, superuser: psycopg.Connection
) -> None:
    to, parameters = location(follow(company, f"/r/{code}"))
    (click,) = clicks(superuser, company)
    assert (to, parameters) == (DESTINATION, {"gw_click": f"clk_{click['id'].hex}"})


def test_a_code_with_a_destination_of_its_own_leads_there(
    company: Company, code: str, superuser: psycopg.Connection
) -> None:
    own_destination(superuser, company, "https://shop.example/spring?sale=1#top")
    to, parameters = location(follow(company, f"/r/{code}"))
    assert to == "https://shop.example/spring#top"
    assert parameters.keys() == {"sale", "gw_click"}


def test_parameters_are_passed_on_unless_they_would_overwrite(
    company: Company, code: str, superuser: psycopg.Connection
) -> None:
    own_destination(superuser, company, "https://shop.example/spring?plan=pro&gw_click=old")
    to, parameters = location(follow(company, f"/r/{code}?plan=free&utm_source=a%20b&empty=&gw_click=mine"))
    assert to == "https://shop.example/spring"
    assert parameters.pop("gw_click") not in {"old", "mine"}
    assert parameters == {"plan": "pro", "utm_source": "a b", "empty": ""}


def test_the_key_is_never_passed_on(company: Company, code: str) -> None:
    _, parameters = location(follow(company, f"/r/{code}?key={company.pub}&utm_source=x"))
    assert parameters.keys() == {"utm_source", "gw_click"}


@pytest.mark.parametrize("name", ["url", "destination", "destination_url", "redirect", "next"])
def test_the_destination_never_comes_from_the_query(company: Company, code: str, name: str) -> None:
    to, _ = location(follow(company, f"/r/{code}?{name}=https://evil.example/"))
    assert to == DESTINATION


def test_the_cookie_lives_as_long_as_the_window(company: Company, code: str) -> None:
    answer = follow(company, f"/r/{code}")
    click = location(answer)[1]["gw_click"]
    cookie, *attributes = answer.headers["set-cookie"].split("; ")
    assert cookie == f"gw_click={click}"
    assert {"Secure", "SameSite=Lax", f"Max-Age={90 * 86_400}", "Path=/"} == set(attributes)


def test_codes_are_compared_without_regard_to_case(company: Company, code: str) -> None:
    assert "gw_click" in location(follow(company, f"/r/{code.lower()}"))[1]


@pytest.mark.parametrize(
    "user_agent",
    [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "WhatsApp/2.25.31.76 A",
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        "meta-externalfetcher/1.1",
        "curl/8.5.0",
        "",
    ],
)
def test_what_no_person_did_is_redirected_and_not_counted(
    company: Company, code: str, superuser: psycopg.Connection, user_agent: str
) -> None:
    answer = follow(company, f"/r/{code}?utm_source=x", user_agent=user_agent)
    assert location(answer) == (DESTINATION, {"utm_source": "x"})
    assert "set-cookie" not in answer.headers
    assert clicks(superuser, company) == []


@pytest.mark.parametrize(
    "user_agent",
    [
        "Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/143.0 Mobile Safari/537.36 Telegram-Android/11.2.1 (Google)",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/16B92 [Pinterest/iOS]",
        "Mozilla/5.0 (Linux; Android 9; CUBOT X19) AppleWebKit/537.36 Chrome/143.0 Mobile Safari/537.36",
        "Mozilla/5.0 (Linux; Android 7.0; M bot 60) AppleWebKit/537.36 Chrome/119.0 Mobile Safari/537.36",
    ],
)
def test_whoever_follows_a_link_inside_an_app_or_on_a_strange_phone_is_counted(
    company: Company, code: str, superuser: psycopg.Connection, user_agent: str
) -> None:
    click_id = location(follow(company, f"/r/{code}", user_agent=user_agent))[1]["gw_click"]
    assert [f"clk_{click['id'].hex}" for click in clicks(superuser, company)] == [click_id]
    assert company.sign_up("ben", click_id=click_id)["referral"]["referrer"] == "ada"


@pytest.mark.parametrize("path", ["/r/{code}", "/r/{code}/", "/r/NO-SUCH-CODE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"sec_purpose": "prefetch"},
        {"sec_purpose": "prefetch;prerender"},
        {"sec_purpose": "prefetch;anonymous-client-ip"},
        {"purpose": "prefetch"},
        {"purpose": "Prerender"},
        {"x_purpose": "preview"},
        {"x_moz": "prefetch"},
    ],
    ids=lambda headers: " ".join(*headers.items()),
)
def test_a_browser_that_asks_before_the_person_does_asks_again_when_the_person_comes(
    company: Company, code: str, superuser: psycopg.Connection, path: str, headers: dict[str, str]
) -> None:
    answer = follow(company, path.format(code=code), **headers)
    assert (answer.status, answer.raw, answer.headers["cache-control"]) == (503, b"", "no-store")
    assert not {"location", "set-cookie"} & answer.headers.keys()
    assert clicks(superuser, company) == []


def test_head_is_redirected_and_not_counted(company: Company, code: str, superuser: psycopg.Connection) -> None:
    answer = company.browser.send("HEAD", f"/r/{code}")
    assert location(answer) == (DESTINATION, {})
    assert company.browser.send("HEAD", f"/r/{code}/").headers["location"] == DESTINATION
    assert clicks(superuser, company) == []


def test_no_answer_to_a_followed_link_is_kept_by_a_browser_or_a_proxy(
    company: Company, code: str, superuser: psycopg.Connection
) -> None:
    def kept(method: str = "GET", path: str = f"/r/{code}", **headers: str) -> str | None:
        return company.browser.send(method, path, headers=headers).headers.get("cache-control")

    unknown = [kept(path="/r/NO-SUCH-CODE"), kept(path=f"/r/NO-SUCH-CODE?key={company.pub}")]
    answers = [kept(), kept("HEAD"), kept(**{"user-agent": "curl/8.5.0"}), *unknown]
    refuse(superuser, company, "inactive")
    assert [*answers, kept()] == ["no-store"] * 6


@pytest.mark.parametrize(
    "behind", ["/", ".", ")", "...", "!)", ",", ":", ";", "%20", "/.", "%E2%80%8B", "%EF%BB%BF.", "%22"]
)
def test_what_is_pasted_along_with_a_link_does_not_stand_in_its_way(company: Company, code: str, behind: str) -> None:
    assert "gw_click" in location(follow(company, f"/r/{code.lower()}{behind}?utm_source=x"))[1]


@pytest.mark.parametrize("inside", ["%00{code}", "{first}%00{rest}", "{code}%00", "{first}/{rest}", "{first}.{rest}"])
def test_what_no_code_holds_makes_another_code(company: Company, code: str, inside: str) -> None:
    path = inside.format(code=code, first=code[:4], rest=code[4:])
    problem(follow(company, f"/r/{path}"), 404, "unknown_code")


def test_the_destinations_own_query_and_the_visitors_are_passed_on_byte_for_byte(company: Company) -> None:
    company.sign_up("ada")
    url = "https://münchen.example/ü?msg=hello%20world&flag"
    stored = "https://xn--mnchen-3ya.example/%C3%BC?msg=hello%20world&flag"
    body = {"code": f"M-{company.id.hex[:12]}", "user_id": "ada", "destination_url": url}
    code = company.ok("POST", "/v1/codes", body, status=201)
    assert code["destination_url"] == stored
    led_to = follow(company, f"/r/{code['code']}?x=%E9&key={company.pub}&flag=2").headers["location"]
    assert re.fullmatch(re.escape(f"{stored}&x=%E9&gw_click=clk_") + "[0-9a-f]{32}", led_to), led_to


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_code_that_may_not_be_used_leads_to_the_company_without_a_click(
    company: Company, code: str, superuser: psycopg.Connection, refusal: str
) -> None:
    own_destination(superuser, company, "https://shop.example/spring")
    refuse(superuser, company, refusal)
    answer = follow(company, f"/r/{code}?utm_source=x")
    assert location(answer) == (DESTINATION, {"utm_source": "x"})
    assert "set-cookie" not in answer.headers
    assert clicks(superuser, company) == []


@pytest.mark.parametrize("path", ["/r/NO-SUCH-CODE", "/r/%00", "/r/" + "A" * 200, "/r/%F0%9F%A6%86"])
def test_an_unknown_code_is_not_found(company: Company, path: str) -> None:
    problem(follow(company, path), 404, "unknown_code")


def test_an_unknown_code_leads_to_the_company_that_a_publishable_key_names(
    company: Company, superuser: psycopg.Connection
) -> None:
    answer = follow(company, f"/r/NO-SUCH-CODE?key={company.pub}&utm_source=x")
    assert location(answer) == (DESTINATION, {"utm_source": "x"})
    assert clicks(superuser, company) == []


@pytest.mark.parametrize("key", ["", "nonsense", "gw_pub_nonsense", "secret"])
def test_an_unknown_code_is_not_found_where_the_key_names_no_company(company: Company, key: str) -> None:
    sent = company.line["secret_key"] if key == "secret" else key
    problem(follow(company, f"/r/NO-SUCH-CODE?key={sent}"), 404, "unknown_code")


def test_a_click_holds_no_address_in_the_clear_and_no_query_of_the_referer(
    company: Company, code: str, superuser: psycopg.Connection
) -> None:
    follow(company, f"/r/{code}", referer="https://news.example/42?reader=7#part", user_agent="Firefox/140")
    (click,) = clicks(superuser, company)
    assert click["referrer_url"] == "https://news.example/42"
    hashes = [click["ip_hash"], click["agent_hash"]]
    assert [len(each) for each in hashes] == [32, 32]
    assert click["device_hash"] is None


def test_a_click_holds_the_companys_time(company: Company, code: str, superuser: psycopg.Connection) -> None:
    company.set_clock(NOON)
    follow(company, f"/r/{code}")
    (click,) = clicks(superuser, company)
    assert (click["occurred_at"], click["expires_at"]) == (NOON, NOON + timedelta(days=90))
    assert click["received_at"] < NOON


def test_the_next_click_of_a_browser_joins_its_chain(
    company: Company, code: str, superuser: psycopg.Connection
) -> None:
    first = location(follow(company, f"/r/{code}"))[1]["gw_click"]
    second = location(follow(company, f"/r/{code}", cookie=f"theme=dark; gw_click={first}"))[1]["gw_click"]
    reported = company.ok("POST", "/v1/clicks", {"code": code, "previous_click_id": second})["id"]
    found = [(click["id"], click["previous_id"]) for click in clicks(superuser, company)]
    ours = [ids.parse("clk", each) for each in (first, second, reported)]
    assert found == list(zip(ours, [None, *ours], strict=False))


@pytest.mark.parametrize("previous", ["", "clk_", "nonsense", "clk_" + "f" * 32, "clk_" + "0" * 32, "ref_" + "0" * 32])
def test_a_made_up_cookie_starts_a_chain_of_its_own(
    company: Company, code: str, superuser: psycopg.Connection, previous: str
) -> None:
    location(follow(company, f"/r/{code}", cookie=f"gw_click={previous}"))
    company.ok("POST", "/v1/clicks", {"code": code, "previous_click_id": previous})
    assert [click["previous_id"] for click in clicks(superuser, company)] == [None, None]


def test_another_companys_click_starts_no_chain(
    company: Company, other: Company, code: str, superuser: psycopg.Connection
) -> None:
    theirs = other.sign_up("eve")["user"]["referral_code"]
    click = location(follow(other, f"/r/{theirs}"))[1]["gw_click"]
    follow(company, f"/r/{code}", cookie=f"gw_click={click}")
    (ours,) = clicks(superuser, company)
    assert ours["previous_id"] is None
